"""A request is taken once: by all replicas of one host, or by all that mount one folder."""

import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ai102_runtime.seal.envelope import SealError, Seen
from ai102_runtime.seal.replay import SPARE_S, InSharedFolder, OnThisHost, memory_from_environment

NOW = 1_900_000_000_000
NONCES = [number.to_bytes(12, "big") for number in range(200)]
MEMORIES: dict[str, Callable[[Path], Seen]] = {
    "host": lambda folder: OnThisHost(folder / "seen"),
    "shared": lambda folder: InSharedFolder(folder),
}
NOBODY = 65534


@pytest.mark.parametrize("name", MEMORIES)
def test_the_first_is_taken_and_the_second_is_not(name: str, tmp_path: Path) -> None:
    seen = MEMORIES[name](tmp_path)
    calls = [("a", NONCES[1], NOW), ("a", NONCES[1], NOW), ("b", NONCES[1], NOW), ("a", NONCES[2], NOW)]
    assert [seen.is_first(*call, NOW) for call in calls] == [True, False, True, True]


@pytest.mark.parametrize("name", MEMORIES)
def test_it_is_remembered_as_long_as_it_could_be_replayed(name: str, tmp_path: Path) -> None:
    seen = MEMORIES[name](tmp_path)
    sealed_ms = NOW + 120_000  # by a clock that is two minutes ahead
    assert seen.is_first("a", NONCES[0], sealed_ms, NOW)
    assert not seen.is_first("a", NONCES[0], sealed_ms, sealed_ms + 120_000)
    assert seen.is_first("a", NONCES[0], sealed_ms, sealed_ms + 121_000 + SPARE_S * 1000 + 2000)  # forgotten


@pytest.mark.parametrize("name", MEMORIES)
def test_another_replica_and_a_restart_know_it_too(name: str, tmp_path: Path) -> None:
    first, second = MEMORIES[name](tmp_path), MEMORIES[name](tmp_path)
    assert first.is_first("a", NONCES[0], NOW, NOW)
    assert not second.is_first("a", NONCES[0], NOW, NOW)
    del first, second
    assert not MEMORIES[name](tmp_path).is_first("a", NONCES[0], NOW, NOW)


@pytest.mark.parametrize("name", MEMORIES)
def test_of_threads_with_the_same_request_one_wins(name: str, tmp_path: Path) -> None:
    seen, won = MEMORIES[name](tmp_path), list[bytes]()
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


def _ask(name: str, folder: Path, won: "multiprocessing.Queue[list[bytes]]", start: Callable[[], object]) -> None:
    start()
    seen = MEMORIES[name](folder)  # by all at once too
    won.put([nonce for nonce in NONCES if seen.is_first("a", nonce, NOW, NOW)])


@pytest.mark.parametrize("name", ["host"] * 5 + ["shared"])  # the race to make the file is lost now and then
def test_of_three_replicas_with_the_same_request_one_wins(name: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    won, start = context.Queue(), context.Barrier(3)
    processes = [context.Process(target=_ask, args=(name, tmp_path, won, start.wait)) for _ in range(3)]
    for process in processes:
        process.start()
    taken = [nonce for _ in processes for nonce in won.get(timeout=20)]
    for process in processes:
        process.join(timeout=20)
    assert sorted(taken) == NONCES


def test_two_hosts_with_one_mounted_folder_take_a_request_once(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    environ = {"AI102_SEAL_SEEN_SHARED": str(tmp_path / "mount")}
    # Each host has a memory of its own beside it, which does not count then.
    first, second = (
        memory_from_environment(environ | {"AI102_SEAL_SEEN": str(tmp_path / host)}) for host in ("one", "two")
    )
    assert [memory.is_first("a", NONCES[0], NOW, NOW) for memory in (first, second)] == [True, False]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mount"]


def test_the_memory_of_a_host_lies_where_the_environment_says(tmp_path: Path) -> None:
    memory_from_environment({"AI102_SEAL_SEEN": str(tmp_path / "new" / "seen")})
    folder = tmp_path / "new" / "seen"
    assert (oct(folder.stat().st_mode & 0o777), (folder / "seen.sqlite").is_file()) == ("0o700", True)


def test_a_full_or_busy_file_refuses(tmp_path: Path) -> None:
    small = OnThisHost(tmp_path / "small", max_bytes=5 * 4096)
    with pytest.raises(SealError) as caught:
        all(small.is_first("a", number.to_bytes(12, "big"), NOW, NOW) for number in range(100_000))
    busy = OnThisHost(tmp_path / "busy", wait_s=0.01)
    other = sqlite3.connect(tmp_path / "busy" / "seen.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(SealError) as waited:
        busy.is_first("a", NONCES[0], NOW, NOW)
    assert (caught.value.code, waited.value.code) == ("memory", "memory")
    assert "full" in caught.value.detail
    assert "locked" in waited.value.detail


def spoil(place: Path, how: str) -> None:
    """Put into the folder's place what another user or an accident may have put there."""
    match how:
        case "open to others":
            place.mkdir()
            place.chmod(0o777)
        case "a file":
            place.write_text("")
        case "a dangling link":
            place.symlink_to(place.with_name("nowhere"))
        case "of another user":
            place.mkdir()
            os.chown(place, NOBODY, NOBODY)
        case "a link of another user":
            place.with_name("ours").mkdir(mode=0o700)
            place.symlink_to(place.with_name("ours"))
            os.chown(place, NOBODY, NOBODY, follow_symlinks=False)


SPOILT = {
    "open to others": "so others may read or write it: run `chmod go-rwx",
    "a file": "not a folder: remove it",
    "a dangling link": "not a folder: remove it",
    "of another user": "owned by another user (65534)",
    "a link of another user": "owned by another user (65534)",
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize(
    ("variable", "place"), [("AI102_SEAL_SEEN", "seen"), ("AI102_SEAL_SEEN_SHARED", "ai102-seal-seen")]
)
def test_a_folder_that_another_user_made_first_is_refused_in_one_line(
    variable: str, place: str, how: str, tmp_path: Path
) -> None:
    if "another user" in how and os.geteuid() != 0:
        pytest.skip("only root can make a file of another user")
    spoil(tmp_path / place, how)
    with pytest.raises(SealError) as caught:
        memory_from_environment({variable: str(tmp_path / "seen" if place == "seen" else tmp_path)})
    assert (caught.value.code, "\n" in caught.value.detail) == ("memory", False)
    assert SPOILT[how] in caught.value.detail
    assert caught.value.detail.endswith(f"another place can be named by {variable}")


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir(mode=0o700)
    (tmp_path / "seen" / "seen.sqlite").write_bytes(b"junk" * 1000)
    with pytest.raises(SealError) as caught:
        OnThisHost(tmp_path / "seen")
    assert caught.value.detail.endswith("remove it, or name another folder by AI102_SEAL_SEEN")


def test_a_shared_folder_that_is_not_mounted_is_neither_made_nor_used(tmp_path: Path) -> None:
    with pytest.raises(SealError) as caught:
        InSharedFolder(tmp_path / "mount")
    assert caught.value.detail == f"{tmp_path}/mount: no such folder: mount what AI102_SEAL_SEEN_SHARED names"
    (tmp_path / "mount").mkdir()
    seen = InSharedFolder(tmp_path / "mount")
    (tmp_path / "mount").rename(tmp_path / "gone")
    with pytest.raises(SealError) as lost:
        seen.is_first("a", NONCES[0], NOW, NOW)
    assert (lost.value.code, (tmp_path / "mount").exists()) == ("memory", False)
