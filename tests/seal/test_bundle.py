"""A repository into a bundle and back, and every bundle that is refused."""

import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.seal import bundle, temporary
from ai102.seal.bundle import MAGIC, Header, open_into, opened_in_memory, refuse_unsafe, seal
from ai102.seal.stream import SealingWriter
from ai102.seal.temporary import temporary_folder
from ai102_runtime.seal import memory
from ai102_runtime.seal.envelope import Key
from ai102_runtime.seal.keys import Keys
from ai102_runtime.seal.memory import filesystem_of

KEY = Key("k1", bytes(range(32)))
RING = Keys({"k1": KEY}, "k1")
CHUNK = 1 << 16
MODEL = os.urandom(200_000)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for name, content in {
        "digits/1/model.onnx": MODEL,
        "digits/1/model.onnx.made.json": b"{}",
        "digits/1/__pycache__/model.pyc": b"x",
        "digits/config.pbtxt": b"name: 'digits'",
        "digits/标签.txt": b"0\n1\n",
        f"digits/{'long' * 60}": b"",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "ensemble" / "1").mkdir(parents=True)
    return root


@pytest.fixture
def sealed(repository: Path, tmp_path: Path) -> Path:
    seal(repository, tmp_path / "b.ai102", KEY, chunk_bytes=CHUNK)
    return tmp_path / "b.ai102"


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_triton_reads_comes_back_private(repository: Path, sealed: Path, tmp_path: Path) -> None:
    header = open_into(sealed, tmp_path / "out" / "repository", RING)
    expected = {
        name: data for name, data in tree(repository).items() if "made.json" not in name and "cache" not in name
    }
    assert tree(tmp_path / "out" / "repository") == expected
    assert (header.entries, header.content_bytes) == (
        len(expected),
        sum(len(data or b"") for data in expected.values()),
    )
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out" / "repository").rglob("1")}
    assert (modes, folders) == ({0o600}, {0o700})
    assert stat.S_IMODE((tmp_path / "out" / "repository").stat().st_mode) == 0o700
    assert names(tmp_path / "out") == ["repository"]


def test_nothing_of_the_content_is_in_the_file(sealed: Path) -> None:
    data = sealed.read_bytes()
    assert not any(part in data for part in (b"digits", b"config", b"ustar", MODEL[:16]))
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600


def head_bytes(sealed: Path) -> int:
    with sealed.open("rb") as file:
        return len(bundle.header_of(file, sealed).packed())


def changed(name: str, sealed: Path, repository: Path) -> bytes:
    whole, head, step = sealed.read_bytes(), head_bytes(sealed), CHUNK + 16
    chunks = [whole[at : at + step] for at in range(head, len(whole), step)]
    start = whole[:head]
    other = sealed.with_name("other")
    seal(repository, other, KEY, chunk_bytes=CHUNK)
    flip: Callable[[int], bytes] = lambda at: whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]  # noqa: E731
    return {
        "empty": b"",
        "not a bundle": b"PK" * 100,
        "header alone": start,
        "cut in the header": whole[: head - 3],
        "another version": flip(7),
        "salt": flip(len(MAGIC) + 5),
        "announced bytes": flip(head - 6),
        "announced entries": flip(head - 1),
        "chunk size": flip(head - 14),
        "first chunk": flip(head + 1),
        "last byte": flip(len(whole) - 1),
        "cut by a byte": whole[:-1],
        "last chunk gone": start + b"".join(chunks[:-1]),
        "swapped": start + b"".join([chunks[1], chunks[0], *chunks[2:]]),
        "doubled": start + b"".join([chunks[0], *chunks]),
        "appended": whole + b"x",
        "another bundle's chunk": start + b"".join([chunks[0], other.read_bytes()[head + step :]]),
        "another bundle's header": other.read_bytes()[:head] + b"".join(chunks),
    }[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "not a bundle of this format"),
        ("not a bundle", "not a bundle of this format"),
        ("another version", "not a bundle of this format"),
        *(
            (name, "altered or cut short")
            for name in (
                "header alone", "cut in the header", "salt", "announced bytes", "announced entries", "chunk size",
                "first chunk", "last byte", "cut by a byte", "last chunk gone", "swapped", "doubled", "appended",
                "another bundle's chunk", "another bundle's header",
            )
        ),
    ],
)  # fmt: skip
def test_a_bundle_that_was_changed_leaves_nothing(
    name: str, message: str, sealed: Path, repository: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.ai102"
    bad.write_bytes(changed(name, sealed, repository))
    (tmp_path / "here").mkdir()
    with pytest.raises(UserError) as caught:
        open_into(bad, tmp_path / "here" / "out", RING)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path / "here") == []


@pytest.mark.parametrize(
    ("ring", "message"),
    [
        (Keys({}), "sealed with the key k1, which is not among the open keys here"),
        (Keys({"k1": Key("k1", bytes(32))}), "altered or cut short, or sealed with another key called k1"),
    ],
)
def test_a_bundle_opens_with_its_key_alone(ring: Keys, message: str, sealed: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        open_into(sealed, tmp_path / "out", ring)
    assert not (tmp_path / "out").exists()


def bundle_of(
    file: Path, members: list[tuple[tarfile.TarInfo, bytes]], entries: int = 0, content: int = 0, more_bytes: int = 0
) -> Path:
    """A well sealed bundle of whatever is in the tar file."""
    total = content or sum(len(data) for _, data in members)
    header = Header("k1", bytes(32), CHUNK, total, entries or len(members))
    with file.open("wb") as target:
        target.write(header.packed())
        writer = SealingWriter(target, bundle._stream_key(KEY, header), CHUNK)
        with tarfile.open(mode="w|", fileobj=writer) as tar:
            for info, data in members:
                tar.addfile(info, io.BytesIO(data))
        writer.write(bytes(more_bytes))
        writer.finish()
    return file


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(data), link
    return info, data


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member("../x")], "not one a repository may hold"),
        ([member("a/../../x")], "not one a repository may hold"),
        ([member("/x")], "not one a repository may hold"),
        ([member("./x")], "not one a repository may hold"),
        ([member("a//x")], "not one a repository may hold"),
        ([member("a\\x")], "not one a repository may hold"),
        ([member("a\nx")], "not one a repository may hold"),
        ([member("/".join("a" * 40))], "not one a repository may hold"),
        ([member("x" * 256)], "not one a repository may hold"),
        ([member("x", kind=tarfile.SYMTYPE, link="/etc/passwd")], "no regular file and no folder"),
        ([member("x"), member("y", kind=tarfile.LNKTYPE, link="x")], "no regular file and no folder"),
        ([member("x", kind=tarfile.CHRTYPE)], "no regular file and no folder"),
        ([member("x", kind=tarfile.FIFOTYPE)], "no regular file and no folder"),
        ([member("x", b"1"), member("x", b"2")], "there twice or before its folder"),
        ([member("d", kind=tarfile.DIRTYPE), member("d")], "there twice or before its folder"),
        ([member("x"), member("x/y")], "there twice or before its folder"),
        ([member("d/x")], "there twice or before its folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr([info.name[:20] for info, _ in value]),
)
def test_what_leads_elsewhere_is_refused(
    members: list[tuple[tarfile.TarInfo, bytes]], message: str, tmp_path: Path
) -> None:
    file = bundle_of(tmp_path / "bad", members)
    with pytest.raises(UserError, match=message):
        open_into(file, tmp_path / "out", RING)
    assert names(tmp_path) == ["bad"]


def test_a_bundle_cut_after_the_end_of_its_tar_file_is_refused(tmp_path: Path) -> None:
    file = bundle_of(tmp_path / "long", [member("d", kind=tarfile.DIRTYPE)], more_bytes=4 << 20)
    open_into(file, tmp_path / "out", RING)
    (tmp_path / "cut").write_bytes(file.read_bytes()[: -(CHUNK + 16)])
    with pytest.raises(UserError, match="cut short"):
        open_into(tmp_path / "cut", tmp_path / "again", RING)
    assert names(tmp_path) == ["cut", "long", "out"]


def test_a_sparse_file_is_no_regular_file(tmp_path: Path) -> None:
    info, data = member("x", b"abc")
    info.pax_headers = {"GNU.sparse.map": "0,3", "GNU.sparse.size": "1000000"}
    with pytest.raises(UserError, match="no regular file"):
        open_into(bundle_of(tmp_path / "bad", [(info, data)]), tmp_path / "out", RING)


def test_a_header_that_promises_other_content_is_refused(tmp_path: Path) -> None:
    for entries, content in ((2, 0), (0, 5), (0, 1)):
        file = bundle_of(tmp_path / "bad", [member("x", b"abc")], entries, content)
        with pytest.raises(UserError, match="header says"):
            open_into(file, tmp_path / "out", RING)


@pytest.mark.parametrize("name", ["a", "a/b.c", "数/1/model.onnx", ".keep", "a b"])
def test_ordinary_names_are_allowed(name: str) -> None:
    refuse_unsafe(name, Path("b"))


@pytest.mark.parametrize("what", ["link", "fifo", "name", "no models", "nowhere", "file inside", "file is a folder"])
def test_what_cannot_be_sealed_is_one_line_and_no_file(what: str, repository: Path, tmp_path: Path) -> None:
    file, message = tmp_path / "new" / "b", "put the file itself there"
    match what:
        case "link":
            (repository / "digits" / "link").symlink_to("config.pbtxt")
        case "fifo":
            os.mkfifo(repository / "digits" / "pipe")
            message = "no regular file"
        case "name":
            (repository / "digits" / "a\nb").touch()
            message = "rename it there"
        case "no models":
            repository, message = repository / "ensemble" / "1", "no model repository"
        case "nowhere":
            repository, message = tmp_path / "none", "no model repository"
        case "file inside":
            file, message = repository / "b", "name a file outside of it"
        case "file is a folder":
            file, message = tmp_path, "name a file outside of it"
    with pytest.raises(UserError, match=message) as caught:
        seal(repository, file, KEY)
    assert "\n" not in str(caught.value)
    assert not file.is_file()


def test_an_existing_folder_is_left_alone(sealed: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="it exists already"):
        open_into(sealed, tmp_path / "out", RING)
    assert list((tmp_path / "out").iterdir()) == []


def test_too_little_space_is_said_before_anything_is_written(
    sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tight = os.statvfs_result((4096, 4096, 100, 10, 10, 100, 10, 10, 0, 255))
    monkeypatch.setattr(temporary.os, "statvfs", lambda path: tight)
    with pytest.raises(UserError, match=r"0 MB free, .* needs 0 MB"):
        open_into(sealed, tmp_path / "out", RING)


@contextmanager
def opening(sealed: Path, target: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that opens a bundle from a pipe whose end does not come."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = f"""
import sys
from pathlib import Path
from ai102.seal.bundle import open_into
from ai102_runtime.seal.envelope import Key
from ai102_runtime.seal.keys import Keys
open_into(Path({str(pipe)!r}), Path({target!r}), Keys({{"k1": Key("k1", bytes(range(32)))}}))
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    with pipe.open("wb", buffering=0) as feed:
        feed.write(sealed.read_bytes()[:-CHUNK])
        yield process


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.005)


def test_kill_9_while_opening_leaves_nothing_under_the_name_and_the_next_start_clears_up(
    repository: Path, sealed: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    (repository / "digits" / "1" / "model.onnx").write_bytes(os.urandom(4 << 20))
    seal(repository, sealed, KEY, chunk_bytes=CHUNK)
    with opening(sealed, str(place / "out"), tmp_path) as process:
        wait_until(lambda: any(path.is_file() for path in place.rglob("*")))
        process.send_signal(signal.SIGKILL)
        process.wait()
    (left,) = place.iterdir()
    assert (left.name.startswith(".out.opening-"), stat.S_IMODE(left.stat().st_mode)) == (True, 0o700)
    open_into(sealed, place / "out", RING)
    assert names(place) == ["out"]


def test_a_temporary_folder_in_use_is_not_removed(tmp_path: Path) -> None:
    with temporary_folder(tmp_path, "x-") as first, temporary_folder(tmp_path, "x-") as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second])
    assert list(tmp_path.iterdir()) == []


def test_in_memory_it_is_private_and_gone_afterwards(repository: Path, sealed: Path) -> None:
    with opened_in_memory(sealed, RING) as folder:
        assert folder.is_relative_to("/dev/shm")
        assert (folder / "digits" / "1" / "model.onnx").read_bytes() == MODEL
        assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)} == {0o700}
    assert not folder.parent.exists()


def test_a_disk_is_not_memory(sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 0:1 / / rw - ext4 /dev/vda rw\n23 22 0:2 / /dev/shm rw - tmpfs shm rw\n")
    monkeypatch.setattr(memory, "MOUNTS", mounts)
    with pytest.raises(UserError, match="is on ext4, not in memory"), opened_in_memory(sealed, RING, memory=tmp_path):
        pass
    with pytest.raises(UserError, match="no such folder"), opened_in_memory(sealed, RING, memory=tmp_path / "no"):
        pass


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/dev/shm/x", "tmpfs"),
        ("/dev/shmx", "ext4"),
        ("/a b/c", "overlay"),
        ("/top", "tmpfs"),
        ("/", "ext4"),
    ],
)
def test_the_file_system_is_that_of_the_deepest_and_last_mount(path: str, kind: str) -> None:
    mountinfo = (
        "22 1 0:1 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "23 22 0:2 / /dev/shm rw - tmpfs shm rw\n"
        "24 22 0:3 / /a\\040b rw - overlay o rw\n"
        "25 22 0:4 / /top rw - nfs o rw\n"
        "26 25 0:5 / /top rw - tmpfs o rw\n"
    )
    assert filesystem_of(Path(path), mountinfo) == kind


def test_sealing_again_replaces_the_bundle_whole(repository: Path, sealed: Path, tmp_path: Path) -> None:
    before = sealed.read_bytes()
    (repository / "digits" / "link").symlink_to("config.pbtxt")
    with pytest.raises(UserError):
        seal(repository, sealed, KEY)
    assert sealed.read_bytes() == before
    (repository / "digits" / "link").unlink()
    seal(repository, sealed, KEY)
    assert sealed.read_bytes()[: len(before)] != before


PEAK = """
import resource, sys
from pathlib import Path
from ai102.seal.bundle import open_into, seal
from ai102_runtime.seal.envelope import Key
from ai102_runtime.seal.keys import Keys
key, here = Key("k1", bytes(32)), Path(sys.argv[1])
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
start = peak()
seal(here / "repository", here / "b", key)
sealed = peak()
open_into(here / "b", here / "out", Keys({"k1": key}))
print(sealed - start, peak() - start)
"""


@pytest.mark.slow
def test_a_bundle_of_200_mb_takes_a_few_mb_of_memory(tmp_path: Path) -> None:
    (tmp_path / "repository" / "m" / "1").mkdir(parents=True)
    with (tmp_path / "repository" / "m" / "1" / "model.onnx").open("wb") as file:
        file.truncate(200 << 20)  # sparse: a hole reads as zeros
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert (tmp_path / "out" / "m" / "1" / "model.onnx").stat().st_size == 200 << 20
    assert max(int(part) for part in done.stdout.split()) < 32, done.stdout
