"""Keys in a folder and in the environment: made, rotated, retired, and noticed while they change."""

import base64
import errno
import io
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ai102.errors import UserError
from ai102.seal import key_files
from ai102_runtime.seal.envelope import SealError, open_request, seal_request
from ai102_runtime.seal.keys import KeyFolder, KeysError, keys_from_environment, keys_from_folder

from .seen import SeenByThisTest

NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
NOW_MS = 1_900_000_000_000
BASE64 = base64.b64encode(bytes(range(32))).decode()


class Clock:
    """Seconds that pass when line to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    key_files.new(folder, "first", NOW)
    return folder


def statuses(home: Path) -> dict[str, str]:
    return {row.key_id: row.status for row in key_files.rows(home, NOW)}


def test_the_first_key_seals_and_the_next_waits(home: Path) -> None:
    assert [key_files.new(home, "", NOW) for _ in range(2)] == ["2026-11-25", "2026-11-25-2"]
    assert statuses(home) == {"2026-11-25": "open", "2026-11-25-2": "open", "first": "active"}
    assert keys_from_folder(home).active.id == "first"


def test_key_files_are_private_from_the_start(home: Path) -> None:
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in (home, *home.iterdir())} == {
        "keys": "0o700", "first.key": "0o600", "active": "0o600",
    }  # fmt: skip


def test_rotation_seals_with_another_and_keeps_the_one_before_open(home: Path) -> None:
    assert key_files.rotate(home, "", "", NOW) == ("2026-11-25", "first")
    assert statuses(home) == {"2026-11-25": "active", "first": "open"}
    assert key_files.rotate(home, "first", "", NOW) == ("first", "2026-11-25")
    assert key_files.rotate(home, "", "2026-11-25", NOW) == ("first", "first")  # retired, nothing made
    assert statuses(home) == {"2026-11-25": "retired", "first": "active"}
    assert key_files.rotate(home, "", "first", NOW) == ("2026-11-25-2", "first")  # the active one needs a successor
    assert statuses(home) == {"2026-11-25": "retired", "2026-11-25-2": "active", "first": "retired"}
    ring = keys_from_folder(home)
    assert (ring.ids, ring.opening("first")) == (("2026-11-25-2",), None)


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "the id is taken": (lambda home: key_files.new(home, "first", NOW), "there is a key first; give the new one"),
    "no id": (lambda home: key_files.new(home, "../x", NOW), '"../x" is no key id'),
    "rotate to nothing": (lambda home: key_files.rotate(home, "2nd", "", NOW), "no open key 2nd: it has first (open)"),
    "retire nothing": (lambda home: key_files.rotate(home, "", "2nd", NOW), "no key 2nd to retire"),
    "both at once": (lambda home: key_files.rotate(home, "first", "first", NOW), "cannot be made active and retired"),
    "rotate nothing": (lambda home: key_files.rotate(home / "no", "", "", NOW), "make keys with `ai102 keys new`"),
    "no folder": (lambda home: key_files.rows(home / "no", NOW), "make keys with `ai102 keys new`"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_changes_nothing(name: str, home: Path) -> None:
    action, line = MISTAKES[name]
    before = {file.name: file.read_bytes() for file in home.iterdir()}
    with pytest.raises(UserError) as caught:
        action(home)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {file.name: file.read_bytes() for file in home.iterdir()} == before


def broken(home: Path, how: str) -> None:
    file = home / "first.key"
    text = file.read_text()
    match how:
        case "readable by others":
            file.chmod(0o640)
        case "folder open to others":
            home.chmod(0o777)
        case "half a file":
            file.write_text(text[: len(text) // 2])
        case "another length":
            file.write_text(base64.b64encode(bytes(16)).decode())
        case "no base64":
            file.write_text("not*base64")
        case "another status":
            file.write_text(text.replace("Status: open", "Status: maybe"))
        case "id with a path":
            file.rename(home / "A B.key")
        case "active names none":
            (home / "active").write_text("gone")


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("readable by others", "first.key: its mode is 0640, so others may read or write it: run `chmod go-rwx"),
        ("folder open to others", "others may write in it: run `chmod go-w"),
        ("half a file", "first.key: not a whole key file"),
        ("another length", "key first has 16 bytes, not 32"),
        ("no base64", "first.key: key 'first': not base64"),
        ("another status", "its status is 'maybe': write open or retired"),
        ("id with a path", '"A B" is no key id'),
        ("active names none", "names 'gone': no open key"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_in_one_line_without_the_secret(how: str, line: str, home: Path) -> None:
    secret = (home / "first.key").read_text().splitlines()[-2]
    broken(home, how)
    with pytest.raises(KeysError) as caught:
        keys_from_folder(home)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert secret[:6] not in str(caught.value)


def test_a_folder_mounted_from_a_secret_store_needs_no_headers(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "mounted").write_text(BASE64 + "\n")
    (tmp_path / "..data" / "mounted").chmod(0o400)
    (tmp_path / "mounted.key").symlink_to("..data/mounted")
    assert keys_from_folder(tmp_path).active.is_same(bytes(range(32)))


ENVIRONMENT = {"AI102_SEAL_KEY_2026_A": BASE64, "AI102_SEAL_KEY_OLD": BASE64, "PATH": "/bin"}


@pytest.mark.parametrize(
    ("environ", "ids_and_active"),
    [
        ({"PATH": "/bin"}, ((), "")),
        ({"AI102_SEAL_KEY_OLD": BASE64}, (("old",), "old")),
        (ENVIRONMENT, (("2026-a", "old"), "")),
        (ENVIRONMENT | {"AI102_SEAL_ACTIVE": "2026_A"}, (("2026-a", "old"), "2026-a")),
    ],
)
def test_keys_of_the_environment(environ: dict[str, str], ids_and_active: tuple[tuple[str, ...], str]) -> None:
    keys = keys_from_environment(environ)
    assert (keys.ids, keys.active_id) == ids_and_active


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (ENVIRONMENT | {"AI102_SEAL_ACTIVE": "NEW"}, "AI102_SEAL_ACTIVE names new"),
        (ENVIRONMENT | {"AI102_SEAL_KEY_OLD": "x"}, "key 'old': not base64"),
        (ENVIRONMENT | {"AI102_SEAL_KEY_OLD": "ä" + BASE64}, "key 'old': "),
        ({"AI102_SEAL_KEY_": BASE64}, "is no key id"),
    ],
)
def test_a_key_of_the_environment_that_cannot_be_used_is_refused(environ: dict[str, str], line: str) -> None:
    with pytest.raises(KeysError, match=line) as caught:
        keys_from_environment(environ)
    assert BASE64[:6] not in str(caught.value)


def test_without_an_active_key_nothing_is_sealed_but_all_opens() -> None:
    keys = keys_from_environment(ENVIRONMENT)
    assert keys.opening("old") is not None
    with pytest.raises(KeysError, match=r"no active key \(keys that open: 2026-a, old\)"):
        _ = keys.active


def test_a_change_is_noticed_within_a_second_and_not_looked_for_more_often(home: Path) -> None:
    clock = Clock()
    ring = KeyFolder(home, clock=clock)
    first = ring.active
    key_files.new(home, "second", NOW)
    key_files.rotate(home, "second", "", NOW)
    clock.now_s = 0.9
    assert ring.active is first
    clock.now_s = 1.0
    assert ring.active.id == "second"
    assert ring.opening("first") is first  # the same object: it goes on counting
    key_files.rotate(home, "", "first", NOW)
    clock.now_s = 2.0
    assert ring.opening("first") is None


def test_a_change_that_cannot_be_read_leaves_the_keys_of_before_and_says_so_once(home: Path) -> None:
    clock, line = Clock(), list[str]()
    ring = KeyFolder(home, line.append, clock)
    (home / "second.key").write_text("half")
    (home / "second.key").chmod(0o600)
    for second in (1.0, 2.0):
        clock.now_s = second
        assert ring.active.id == "first"
    assert [line.partition("; ")[2] for line in line] == ["the keys of before stay in force"]
    (home / "second.key").unlink()
    key_files.rotate(home, "", "", NOW)
    clock.now_s = 3.0
    assert ring.active.id == "2026-11-25"


@pytest.mark.parametrize("target", ["b.key", "active", "keys"])
def test_a_retired_key_opens_nothing_even_when_the_first_look_fails(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, clock, warnings = tmp_path / "keys", Clock(), list[str]()
    key_files.new(home, "a", NOW)
    key_files.new(home, "b", NOW)
    ring = KeyFolder(home, warnings.append, clock)
    assert ring.opening("b") is not None
    key_files.rotate(home, "", "b", NOW)
    with monkeypatch.context() as patched:
        no_file_handles_left(patched, target)
        clock.now_s = 1.0
        assert ring.opening("b") is not None  # those of before, until a look succeeds
        clock.now_s = 2.0
        assert ring.opening("b") is not None
    clock.now_s = 3.0
    assert (ring.opening("b"), ring.active.id) == (None, "a")
    assert [line.partition("; ")[2] for line in warnings] == ["the keys of before stay in force"]


def no_file_handles_left(patched: pytest.MonkeyPatch, name: str) -> None:
    """Let every attempt to open or list the path of this name fail, as it does when the process has no handle left."""
    opened, listed = io.open, Path.iterdir

    def refuse(path: Path) -> None:
        if path.name == name:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    def open_(self: Path, *arguments: Any, **options: Any) -> Any:
        refuse(self)
        return opened(self, *arguments, **options)

    def iterdir(self: Path) -> Any:
        refuse(self)
        return listed(self)

    patched.setattr(Path, "open", open_)
    patched.setattr(Path, "iterdir", iterdir)


@pytest.mark.parametrize("place", ["keys/active", "keys"])
def test_what_may_not_be_read_is_a_keys_error_and_leaves_the_keys_of_before(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, clock, warnings = tmp_path / "keys", Clock(), list[str]()
    key_files.new(home, "a", NOW)
    ring = KeyFolder(home, warnings.append, clock)
    key_files.new(home, "b", NOW)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / place))

    monkeypatch.setattr(Path, "read_bytes" if place == "keys/active" else "iterdir", forbidden)
    clock.now_s = 1.0
    assert ring.active.id == "a"
    assert warnings == [
        f"{tmp_path / place}: Permission denied: user {os.geteuid()} must be able to read it; "
        "the keys of before stay in force"
    ]
    with pytest.raises(KeysError, match="Permission denied"):
        keys_from_folder(home)
    with pytest.raises(UserError, match="Permission denied"):
        key_files.rows(home, NOW)


def test_requests_open_through_a_rotation_and_not_after_their_key_retired(home: Path) -> None:
    clock = Clock()
    ring = KeyFolder(home, clock=clock)
    seen, codes, done = SeenByThisTest(), set[str](), threading.Event()
    numbers = [0, 0]

    def work(number: int) -> None:
        while not done.is_set():
            try:
                request = seal_request(ring.active, b"x", "m", NOW_MS)
                open_request(ring, request.envelope, "m", seen, NOW_MS)
                numbers[number] += 1
            except (SealError, KeysError) as err:
                codes.add(repr(err))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for step in range(20):
        key_files.rotate(home, "", "", NOW + timedelta(days=step))
        clock.now_s += 1
    done.set()
    for thread in threads:
        thread.join()
    assert codes == set()
    assert min(numbers) > 0
    request = seal_request(ring.active, b"x", "m", NOW_MS)
    key_files.rotate(home, "", ring.active.id, NOW)
    clock.now_s += 1
    with pytest.raises(SealError) as caught:
        open_request(ring, request.envelope, "m", seen, NOW_MS)
    assert caught.value.code == "key"


def test_keys_made_at_once_by_several_all_stay(home: Path) -> None:
    threads = [threading.Thread(target=key_files.new, args=(home, "", NOW)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses(home)) == 9


def test_the_age_is_counted_from_the_day_it_was_made(home: Path) -> None:
    (row,) = key_files.rows(home, NOW + timedelta(days=90))
    assert (row.created, row.age_days) == ("2026-11-25T09:00:00Z", 90)
