"""Made-up requests against the document of /v1/jobs: no server error, answers as documented."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import given
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.api.made_up import BOUNDED

ROOT = Path(__file__).parent.parent.parent.parent
pytestmark = [pytest.mark.e2e, pytest.mark.imports]
ROUTES = [
    ("POST", "/v1/jobs"),
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs/ended"),
    ("GET", "/v1/jobs/{id}"),
    ("POST", "/v1/jobs/{id}/cancel"),
    ("GET", "/v1/jobs/{id}/events"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of an API that takes jobs; nobody does them."""
    command = [sys.executable, "-m", "ai102", "api", "serve", "--listen", "127.0.0.1:0", "--url", "grpc://127.0.0.1:1"]
    process = subprocess.Popen(
        [*command, "--jobs", str(tmp_path_factory.mktemp("jobs"))],
        cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert line.startswith("ready: http://"), line + process.stderr.read()
        yield line.split()[1]
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stderr.close()


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [(*route, mode) for route in ROUTES for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)],
    ids=str,
)
def test_no_server_error_and_answers_as_documented(url: str, method: str, path: str, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")

    @given(case=document[path][method].as_strategy(generation_mode=mode))
    @BOUNDED
    def ask(case: Case) -> None:
        if case.query and "wait" in case.query:
            case.query["wait"] = "1ms"
        # Which models there are, no schema says; and each job of a list is refused for itself.
        excluded = [positive_data_acceptance, negative_data_rejection] if (method, path) == ROUTES[0] else []
        case.call_and_validate(excluded_checks=excluded)

    ask()
