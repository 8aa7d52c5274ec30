"""The ledger in a real PostgreSQL, which may be killed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


def test_a_server_that_is_away_at_first_is_found_when_it_is_there(server: PostgreSQL) -> None:
    server.empty()
    server.stop()
    ledger = Ledger(server.url)
    try:
        with pytest.raises(JobsError, match="the ledger postgresql"):
            ledger.count_by_state()
    finally:
        server.start()
    assert len(accepted(ledger)) == 1
    ledger.close()


def test_many_that_start_at_once_make_the_tables_once(server: PostgreSQL) -> None:
    server.empty()

    def first_use(_: int) -> int:
        ledger = Ledger(server.url)
        try:
            return sum(ledger.count_by_state().values())
        finally:
            ledger.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(first_use, range(16))) == [0] * 16


def test_a_password_is_not_shown() -> None:
    ledger = Ledger("postgresql+psycopg://ai102:secret@127.0.0.1:1/jobs")
    with pytest.raises(JobsError) as raised:
        ledger.count_by_state()
    assert "secret" not in str(raised.value)


def test_a_password_comes_from_a_file_and_may_change_there(tmp_path: Path) -> None:
    file = tmp_path / "password"
    with postgresql() as server:
        server.ask_for_passwords("the right one")
        ledger = Ledger(server.url, password_file=file)
        with pytest.raises(JobsError, match=r"password: No such file or directory"):
            ledger.count_by_state()
        file.write_text("another\n", encoding="utf-8")
        with pytest.raises(JobsError, match="password authentication failed"):
            ledger.count_by_state()
        file.write_text("the right one\n", encoding="utf-8")
        assert len(accepted(ledger)) == 1
        ledger.close()
