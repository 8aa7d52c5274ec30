"""A request is taken once: in one process, on one host, in one folder."""

import multiprocessing
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ai102_runtime.seal.envelope import SealError, Seen
from ai102_runtime.seal.replay import SPARE_S, InFolder, InMemory, OnThisHost

NOW = 1_900_000_000_000
NONCES = [number.to_bytes(12, "big") for number in range(200)]
KINDS: dict[str, Callable[[Path], Seen]] = {
    "memory": lambda folder: InMemory(),
    "host": lambda folder: OnThisHost(folder / "seen.db"),
    "folder": lambda folder: InFolder(folder / "seen"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_is_taken_and_the_second_is_not(kind: str, tmp_path: Path) -> None:
    seen = KINDS[kind](tmp_path)
    calls = [("a", NONCES[1], NOW), ("a", NONCES[1], NOW), ("b", NONCES[1], NOW), ("a", NONCES[2], NOW)]
    assert [seen.is_first(*call, NOW) for call in calls] == [True, False, True, True]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_remembered_as_long_as_it_could_be_replayed(kind: str, tmp_path: Path) -> None:
    seen = KINDS[kind](tmp_path)
    sealed_ms = NOW + 120_000  # by a clock that is two minutes ahead
    assert seen.is_first("a", NONCES[0], sealed_ms, NOW)
    assert not seen.is_first("a", NONCES[0], sealed_ms, sealed_ms + 120_000)
    assert seen.is_first("a", NONCES[0], sealed_ms, sealed_ms + 121_000 + SPARE_S * 1000 + 2000)  # forgotten


@pytest.mark.parametrize("kind", ["host", "folder"])
def test_another_replica_and_a_restart_know_it_too(kind: str, tmp_path: Path) -> None:
    first, second = KINDS[kind](tmp_path), KINDS[kind](tmp_path)
    assert first.is_first("a", NONCES[0], NOW, NOW)
    assert not second.is_first("a", NONCES[0], NOW, NOW)
    del first, second
    assert not KINDS[kind](tmp_path).is_first("a", NONCES[0], NOW, NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_of_threads_with_the_same_request_one_wins(kind: str, tmp_path: Path) -> None:
    seen, won = KINDS[kind](tmp_path), list[bytes]()
    start = threading.Barrier(4)

    def ask() -> None:
        start.wait()
        won.extend(nonce for nonce in NONCES if seen.is_first("a", nonce, NOW, NOW))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == NONCES


def _ask(kind: str, folder: Path, won: "multiprocessing.Queue[list[bytes]]", start: Callable[[], object]) -> None:
    start()
    seen = KINDS[kind](folder)  # made by all at once too
    won.put([nonce for nonce in NONCES if seen.is_first("a", nonce, NOW, NOW)])


@pytest.mark.parametrize("kind", ["host"] * 5 + ["folder"])  # the race to make the file is lost now and then
def test_of_three_replicas_with_the_same_request_one_wins(kind: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    won, start = context.Queue(), context.Barrier(3)
    processes = [context.Process(target=_ask, args=(kind, tmp_path, won, start.wait)) for _ in range(3)]
    for process in processes:
        process.start()
    taken = [nonce for _ in processes for nonce in won.get(timeout=20)]
    for process in processes:
        process.join(timeout=20)
    assert sorted(taken) == NONCES


def test_a_flood_never_lets_a_replay_through() -> None:
    seen = InMemory(capacity=100)
    assert seen.is_first("a", NONCES[0], NOW, NOW)
    for number, nonce in enumerate(NONCES[1:]):
        assert seen.is_first("a", nonce, NOW + 1000 + number * 10, NOW)
    with pytest.raises(SealError) as caught:
        seen.is_first("a", NONCES[0], NOW, NOW)
    assert caught.value.code == "memory"
    assert not seen.is_first("a", NONCES[-1], NOW + 1000 + 198 * 10, NOW)


def test_a_full_or_busy_file_refuses(tmp_path: Path) -> None:
    small = OnThisHost(tmp_path / "small.db", max_bytes=5 * 4096)
    with pytest.raises(SealError) as caught:
        all(small.is_first("a", number.to_bytes(12, "big"), NOW, NOW) for number in range(100_000))
    busy = OnThisHost(tmp_path / "busy.db", wait_s=0.01)
    other = sqlite3.connect(tmp_path / "busy.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(SealError) as waited:
        busy.is_first("a", NONCES[0], NOW, NOW)
    assert (caught.value.code, waited.value.code) == ("memory", "memory")
    assert "full" in caught.value.detail
    assert "locked" in waited.value.detail


def test_a_file_that_others_could_change_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "open.db").touch(mode=0o644)
    (tmp_path / "link.db").symlink_to(tmp_path / "open.db")
    (tmp_path / "junk.db").write_bytes(b"junk" * 1000)
    (tmp_path / "junk.db").chmod(0o600)
    for name in ("open.db", "link.db", "junk.db", "no/folder.db"):
        with pytest.raises(SealError) as caught:
            OnThisHost(tmp_path / name)
        assert caught.value.code == "memory", name
    assert (OnThisHost(tmp_path / "new.db"), (tmp_path / "new.db").stat().st_mode & 0o777)[1] == 0o600


def test_storage_that_fails_refuses(tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("a file in the folder's place")
    with pytest.raises(SealError) as caught:
        InFolder(tmp_path / "seen").is_first("a", NONCES[0], NOW, NOW)
    assert caught.value.code == "memory"
