"""Made-up requests against the OpenAPI document, with a real Triton behind: no server error, answers as documented."""

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode

from tests.api.made_up import BOUNDED
from tests.api.served import Served, digit

pytestmark = [pytest.mark.e2e, pytest.mark.imports]
ROUTES = [
    ("POST", "/v1/classify"),
    ("POST", "/v1/embed"),
    ("GET", "/v1/models"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
]


IMAGES = st.sampled_from([digit(0)[0], digit(1, "JPEG")[0]])  # what a schema cannot say of a file
for kind in ("image/png", "image/jpeg"):
    schemathesis.openapi.media_type(kind, IMAGES)
schemathesis.openapi.format("binary", IMAGES)


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *((*route, GenerationMode.POSITIVE) for route in ROUTES),
        *((*route, GenerationMode.NEGATIVE) for route in ROUTES[:2]),  # the others take nothing that could be wrong
    ],
    ids=str,
)
def test_no_server_error_and_answers_as_documented(real: Served, method: str, path: str, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{real.url}/openapi.json")

    @given(case=document[path][method].as_strategy(generation_mode=mode))
    @BOUNDED
    def ask(case: Case) -> None:
        case.call_and_validate()

    ask()


def test_every_documented_route_is_asked(real: Served) -> None:
    document = schemathesis.openapi.from_url(f"{real.url}/openapi.json")
    found = [operation.ok() for operation in document.get_all_operations()]
    assert [(operation.method.upper(), operation.path) for operation in found] == ROUTES
