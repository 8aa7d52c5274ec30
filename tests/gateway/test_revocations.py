"""The journal of revocations: it grows, begins anew, outlives its writer and loses nothing to a full disk."""

import os
from pathlib import Path

import pytest

from ai102.gateway import revocations
from ai102.gateway.feed.jwks import Revocation
from ai102.gateway.policy import Issuer
from ai102.gateway.revocations import Journal

OURS = Issuer(issuer="ours", audience="a", jwks="http://localhost/jwks", revoked="http://localhost/revoked")


def rows(*names: str, ends_s: int = 100) -> list[Revocation]:
    return [Revocation("sid", name, ends_s, 0) for name in names]


def read(folder: Path, journal: Journal) -> list[str]:
    return [line.split()[3] for line in (folder / journal.name).read_text().splitlines()]


def test_it_grows_by_what_is_new(tmp_path: Path) -> None:
    journal = Journal(tmp_path, OURS, lambda: 0)
    assert journal.name == ""
    names = set()
    for some in (["a"], ["a", "b"], [], ["b"], ["c", "d"]):
        journal.add(rows(*some))
        names.add(journal.name)
    assert (read(tmp_path, journal), len(names)) == (["a", "b", "c", "d"], 1)
    assert (tmp_path / journal.name).stat().st_mode & 0o777 == 0o644


def test_the_next_run_begins_anew_with_all_that_stands_and_readers_of_the_former_hear_of_news(tmp_path: Path) -> None:
    first = Journal(tmp_path, OURS, lambda: 0)
    first.add(rows("a") + rows("short", ends_s=10))
    with (tmp_path / first.name).open("a") as file:
        file.write("sid 100 0 cut")  # by a power cut
    second = Journal(tmp_path, OURS, lambda: 50)
    assert second.name == first.name
    second.add(rows("b"))
    second.add(rows("c"))
    assert read(tmp_path, second) == ["a", "b", "c"]
    assert (tmp_path / first.name).read_text().endswith("sid 100 0 c\n")
    Journal(tmp_path, OURS, lambda: 50).add([])
    assert len(list(tmp_path.iterdir())) == 2


def test_it_begins_anew_when_most_of_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "SPARE_LINES", 10)
    now_s = 0.0
    journal = Journal(tmp_path, OURS, lambda: now_s)
    for number in range(40):
        now_s = 100.0 * number
        journal.add(rows(f"n{number}", ends_s=int(now_s) + 150))
    assert len(read(tmp_path, journal)) < 20
    assert len(list(tmp_path.iterdir())) == 2


def test_an_end_that_moves_back_or_a_second_that_is_earlier_makes_nothing_good_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, OURS, lambda: 0)
    for ends_s, not_before_s in ((100, 50), (90, 40), (100, 60)):
        journal.add([Revocation("sub", "eve", ends_s, not_before_s)])
    assert (tmp_path / journal.name).read_text() == "sub 100 50 eve\nsub 100 60 eve\n"


def test_what_could_not_be_written_is_written_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, OURS, lambda: 0)
    journal.add(rows("a"))
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda handle, text: write(handle, text[:5]))
        with pytest.raises(OSError, match="5 of"):
            journal.add(rows("b", "c"))
    journal.add(rows("b", "c"))
    assert read(tmp_path, journal) == ["a", "b", "c"]


def test_a_journal_that_was_removed_comes_back_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path, OURS, lambda: 0)
    journal.add(rows("a"))
    (tmp_path / journal.name).unlink()
    journal.add([])
    assert read(tmp_path, journal) == ["a"]
