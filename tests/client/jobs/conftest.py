"""An API with jobs for the tests of a file, and each test once for either client."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client.jobs.both import BOTH
from tests.jobs.served import JobsApi, jobs_api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsApi]:
    with jobs_api(tmp_path_factory.mktemp("jobs")) as served:
        yield served


@pytest.fixture(params=BOTH.values(), ids=BOTH)
def connect(request: pytest.FixtureRequest) -> Any:
    return request.param
