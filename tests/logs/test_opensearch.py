"""The whole path into a real OpenSearch: nothing lost, nothing twice, nothing unmasked; and the saved searches."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.gateway.conftest import wait_until
from tests.logs.opensearch_node import Node, running_node
from tests.logs.real_lines import REAL
from tests.logs.whole_path import AI102, POSITIVE, Programs, run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
TODAY = datetime.now(UTC)
LINES = 6000


@pytest.mark.alone
def test_nothing_is_lost_or_repeated_or_unmasked_through_kills_and_an_outage(tmp_path: Path) -> None:
    figures = run(tmp_path, LINES, outage_s=3)
    assert (figures.lost, figures.wrongly_masked, figures.secrets) == (0, 0, 0)
    assert figures.repeated <= LINES / 1000
    assert figures.texts_of_the_corpus == LINES / 4 > len(POSITIVE)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """With the real lines of every server in it, written an hour ago."""
    folder = tmp_path_factory.mktemp("searches")
    with running_node(folder / "opensearch") as running:
        lines = [hour_ago(real.line) for real in REAL]
        (folder / "gateway.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
        programs = Programs(folder, _OneLog(folder), running.url)  # type: ignore[arg-type]
        for name in ("masker", "shipper"):
            programs.start(name)
        try:
            wait_until(lambda: running.count() == len(REAL), "all lines", 60)
        finally:
            programs.kill_all()
        yield running


def hour_ago(line: str) -> str:
    """The line as if the server had written it an hour ago."""
    then = TODAY - timedelta(hours=1)
    line = re.sub(r"2026-11-28T1[68]", then.strftime("%Y-%m-%dT%H"), line)
    return re.sub(r"([IWE])1128 18", then.strftime(r"\g<1>%m%d %H"), line)


class _OneLog:
    def __init__(self, folder: Path) -> None:
        self.patterns = [str(folder / "gateway.log")]


def find(node: Node, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*AI102, "logs", "find", "--to", node.url, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_all_of_one_request_is_found(node: Node) -> None:
    done = find(node, "--request", "req-0")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "triton  info  echo  [request id: req-0] prepared" in done.stdout


def test_all_refusals_of_one_user_are_found(node: Node) -> None:
    done = find(node, "--refused-of", "ann")
    assert done.stdout.split("  ", 1)[1] == (
        "gateway  warn  hidden  infer  refused  gRPC 7  ann  0 ms  no grant covers it\n"
    )


def test_all_failures_of_one_model_are_found_at_the_gateway_and_in_triton(node: Node) -> None:
    done = find(node, "--failures-of", "echo", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(document["service"]["name"] for document in found) == ["gateway", "triton"]
    assert "tel [phone] in an error" in done.stdout


def test_nothing_found_is_said_and_two_questions_are_refused(node: Node) -> None:
    nothing = find(node, "--request", "no such id")
    assert (nothing.returncode, nothing.stderr) == (1, "nothing found in the last 24 h\n")
    assert find(node, "--request", "a", "--refused-of", "b").returncode == 2


def test_every_field_is_found_under_its_type(node: Node) -> None:
    mapping = httpx.get(f"{node.url}/ai102-logs-*/_mapping", timeout=30).json()
    [one, *_] = mapping.values()
    assert one["mappings"]["dynamic"] == "false"
    durations = {"size": 0, "aggs": {"longest": {"max": {"field": "event.duration"}}}}
    answer = httpx.post(f"{node.url}/ai102-logs-*/_search", json=durations, timeout=30).json()
    assert answer["aggregations"]["longest"]["value"] == 2_002_000_000


def test_old_indices_are_deleted_by_the_command(node: Node) -> None:
    old = f"ai102-logs-{(TODAY - timedelta(days=20)).strftime('%Y.%m.%d')}"
    httpx.put(f"{node.url}/{old}", timeout=60).raise_for_status()
    command = [sys.executable, "-m", "ai102", "logs", "expire", "--to", node.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"deleted {old}: older than 14 days\n1 indices deleted\n"
    assert httpx.get(f"{node.url}/{old}", timeout=30).status_code == 404
