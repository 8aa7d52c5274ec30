"""The ledger in SQLite."""

from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.jobs.job import JobsError
from ai102.jobs.ledger.ledger import Ledger
from tests.jobs.ledger_promises import *  # noqa: F403
from tests.jobs.ledger_promises import accepted
from tests.jobs.new import job


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def test_erased_jobs_leave_no_bytes_in_the_file(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.accept([job(owner="ann", key="a-key-that-is-found"), job(owner="bob")])
    assert b"a-key-that-is-found" in _bytes_of(tmp_path)
    assert ledger.erase("ann") == 1
    ledger.compact()
    assert b"a-key-that-is-found" not in _bytes_of(tmp_path)
    ledger.close()


def _bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


@pytest.mark.parametrize(
    ("url", "words"),
    [("nonsense", "write sqlite:///FILE"), ("oracle9://x", "write sqlite:///FILE")],
)
def test_a_wrong_url_is_one_line(url: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Ledger(url)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(b"this is no database" * 100)
    with pytest.raises(JobsError, match="file is not a database"):
        Ledger(f"sqlite:///{file}")


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(JobsError, match="unable to open database file"):
        Ledger(f"sqlite:///{tmp_path}/missing/ledger.db")


def test_a_full_disk_accepts_nothing_and_keeps_what_there_is(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    (id,) = accepted(ledger)
    with ledger._engine.connect() as connection:  # the pool gives the same connection to the next call
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JobsError, match="database or disk is full"):
        accepted(ledger, 1000)
    assert [job.id for job in ledger.page("ann")] == [id]
    ledger.close()
