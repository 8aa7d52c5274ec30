"""The ledger in a real PostgreSQL, which may be killed."""

from collections.abc import Iterator

import pytest

from ai102.jobs.job import JobsError, State
from ai102.jobs.ledger.ledger import Ledger
from tests.jobs.databases import PostgreSQL, postgresql
from tests.jobs.ledger_promises import *  # noqa: F403
from tests.jobs.ledger_promises import accepted

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as started:
        yield started


@pytest.fixture
def ledger_url(server: PostgreSQL) -> str:
    server.empty()
    return server.url


def test_a_server_that_was_killed_is_one_line_and_then_goes_on(ledger: Ledger, server: PostgreSQL) -> None:
    (id,) = accepted(ledger)
    server.stop()
    try:
        for _ in range(2):
            with pytest.raises(JobsError, match="the ledger postgresql"):
                accepted(ledger)
    finally:
        server.start()
    job = ledger.get("ann", id)
    assert job is not None
    assert job.state is State.QUEUED
    assert len(accepted(ledger, 3)) == 3


def test_a_password_is_not_shown() -> None:
    with pytest.raises(JobsError) as raised:
        Ledger("postgresql+psycopg://ai102:secret@127.0.0.1:1/jobs")
    assert "secret" not in str(raised.value)
