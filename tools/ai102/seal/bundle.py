"""A model repository as one encrypted, authenticated file, and back.

    magic "AI102BN1" · key id (one byte of length, ASCII) · salt 32 bytes · bytes of a chunk, 4 bytes
    bytes of all files, 8 bytes · number of files and folders, 4 bytes                (numbers big-endian)
    a tar file, through ai102.seal.stream

The stream's key is derived (HKDF-SHA256) from the named key, the salt and the whole header: a header that was changed
gives another key, and no chunk opens.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import stat
import struct
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from ai102.artifact import replacing
from ai102.errors import UserError
from ai102.progress import Progress
from ai102.seal.stream import OpeningReader, SealingWriter
from ai102.seal.temporary import SHARED_MEMORY, refuse_disk, refuse_too_little_space, temporary_folder
from ai102_runtime.seal.envelope import KEY_ID, Key, Ring

MAGIC = b"AI102BN1"
NUMBERS = struct.Struct(">IQI")
SALT_BYTES = 32
CHUNK_BYTES = 1 << 20
CHUNK_BYTES_ALLOWED = range(1 << 16, (1 << 20) + 1)
PIECE_BYTES = 1 << 20
MAX_DEPTH, MAX_NAME_BYTES = 32, 255
# Triton has no use for these; the manifests of our builds stay at home.
LEFT_OUT = re.compile(r"(__pycache__|\.incoming|.*\.made\.json)\Z")


class Header(NamedTuple):
    """What a bundle says of itself in clear; true once its first chunk has opened."""

    key_id: str
    salt: bytes
    chunk_bytes: int
    content_bytes: int
    entries: int

    def packed(self) -> bytes:
        numbers = NUMBERS.pack(self.chunk_bytes, self.content_bytes, self.entries)
        return MAGIC + bytes([len(self.key_id)]) + self.key_id.encode("ascii") + self.salt + numbers


def seal(
    repository: Path,
    file: Path,
    key: Key,
    progress: Progress = lambda done, total: None,
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> Header:
    """Write `repository` to `file`, whole or not at all, and return its header; progress counts MB.

    Raises UserError for what is no repository, for a link or a device in it, or a file that changes meanwhile.
    """
    if file.is_dir() or file.resolve().is_relative_to(repository.resolve()):
        raise UserError(f"{file}: it is a folder, or inside {repository}: name a file outside of it")
    entries = list(_entries(repository))
    total = sum(facts.st_size for _, facts in entries if stat.S_ISREG(facts.st_mode))
    header = Header(key.id, secrets.token_bytes(SALT_BYTES), chunk_bytes, total, len(entries))
    with replacing(file) as temporary, temporary.open("xb") as target:
        temporary.chmod(0o600)
        target.write(header.packed())
        writer = SealingWriter(target, _stream_key(key, header), chunk_bytes)
        with tarfile.open(mode="w|", fileobj=writer, bufsize=PIECE_BYTES, format=tarfile.PAX_FORMAT) as tar:
            done = 0
            for path, facts in entries:
                _add(tar, repository, path, facts)
                done += facts.st_size if stat.S_ISREG(facts.st_mode) else 0
                progress(done // 1_000_000, total // 1_000_000)
        writer.finish()
        target.flush()
        os.fsync(target.fileno())
    return header


def open_into(file: Path, folder: Path, keys: Ring, progress: Progress = lambda done, total: None) -> Header:
    """Open the bundle as `folder`, which must not exist and appears when all of it has been verified.

    Files get mode 0600, folders 0700. Raises UserError for a bundle that is altered or cut short, for a key that is
    not there, for names that lead elsewhere, and where there is too little space.
    """
    if folder.is_symlink() or folder.exists():
        raise UserError(f"{folder}: it exists already; name a folder that does not")
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder.parent, f".{folder.name}.opening-") as unfinished:
        header = _extract(file, unfinished / "repository", keys, progress)
        (unfinished / "repository").rename(folder)
    return header


@contextmanager
def opened_in_memory(
    file: Path,
    keys: Ring,
    progress: Progress = lambda done, total: None,
    memory: Path = SHARED_MEMORY,
) -> Iterator[Path]:
    """The bundle's repository in memory-backed storage, as a private folder that is removed at the end.

    After a kill -9 the next start removes it. The kernel may swap it out: a host that must not have it on its disk
    has no swap, or an encrypted one. Raises UserError as `open_into` does, and where `memory` is no tmpfs.
    """
    if not memory.is_dir():
        raise UserError(f"{memory}: there is no such folder: mount a tmpfs there, or open the bundle into a folder")
    refuse_disk(memory)
    with temporary_folder(memory, "ai102-bundle-") as folder:
        _extract(file, folder / "repository", keys, progress)
        yield folder / "repository"


def header_of(file: IO[bytes], name: Path) -> Header:
    """The header at the start of `file`, unverified. Raises UserError for what is no bundle."""
    start = file.read(len(MAGIC) + 1)
    if len(start) <= len(MAGIC) or not start.startswith(MAGIC):
        raise UserError(f"{name}: not a bundle of this format; make one with `ai102 bundle seal`")
    key_id = file.read(start[-1]).decode("latin-1")
    salt, numbers = file.read(SALT_BYTES), file.read(NUMBERS.size)
    if not KEY_ID.match(key_id) or len(numbers) < NUMBERS.size:
        raise _damaged(name, "")
    header = Header(key_id, salt, *NUMBERS.unpack(numbers))
    if header.chunk_bytes not in CHUNK_BYTES_ALLOWED:
        raise _damaged(name, "")
    return header


def _extract(file: Path, folder: Path, keys: Ring, progress: Progress) -> Header:
    try:
        sealed = file.open("rb")
    except (FileNotFoundError, IsADirectoryError) as err:
        raise UserError(f"{file}: {err.strerror}: name a bundle made by `ai102 bundle seal`") from err
    with sealed:
        header = header_of(sealed, file)
        if (key := keys.opening(header.key_id)) is None:
            raise UserError(f"{file}: sealed with the key {header.key_id}, which is not among the open keys here")
        reader = OpeningReader(
            sealed, _stream_key(key, header), header.chunk_bytes, lambda: _damaged(file, header.key_id)
        )
        refuse_too_little_space(folder.parent, header.content_bytes, header.entries, str(file))
        folder.mkdir(mode=0o700)
        buffered = io.BufferedReader(reader, PIECE_BYTES)
        try:
            with tarfile.open(mode="r|", fileobj=buffered, bufsize=PIECE_BYTES) as tar:
                unpacked = _unpack(tar, folder, file, progress, header)
        except tarfile.TarError as err:
            raise UserError(f"{file}: its content is no tar file ({err}); seal it again") from err
        while buffered.read(PIECE_BYTES):
            pass  # to the last chunk: only then is nothing cut off
    if unpacked != (header.content_bytes, header.entries):
        raise UserError(f"{file}: not as many files and bytes as its header says; seal it again")
    return header


def _unpack(tar: tarfile.TarFile, folder: Path, file: Path, progress: Progress, header: Header) -> tuple[int, int]:
    done = entries = 0
    for member in tar:
        refuse_unsafe(member.name, file)
        entries += 1
        target = folder / member.name
        try:
            if member.type == tarfile.DIRTYPE:
                target.mkdir(mode=0o700)
            elif member.type == tarfile.REGTYPE and not member.sparse:
                done += _unpack_file(tar, member, target)
            else:
                raise UserError(f"{file}: {member.name!r} is no regular file and no folder; seal the bundle again")
        except (FileExistsError, FileNotFoundError, NotADirectoryError) as err:
            raise UserError(f"{file}: {member.name!r} is there twice or before its folder; seal it again") from err
        if done > header.content_bytes or entries > header.entries:
            raise UserError(f"{file}: more in it than its header says; seal it again")
        progress(done // 1_000_000, header.content_bytes // 1_000_000)
    return done, entries


def _unpack_file(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> int:
    source = tar.extractfile(member)
    assert source is not None  # a regular file's never is
    done = 0
    place = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with os.fdopen(place, "wb", buffering=0) as opened:
        while piece := source.read(PIECE_BYTES):
            view = memoryview(piece)
            while view:
                view = view[opened.write(view) :]
            done += len(piece)
    return done


def refuse_unsafe(name: str, where: Path) -> None:
    """Raise UserError unless `name` is a path downwards of ordinary names."""
    parts = name.split("/")
    plain = all(
        part not in ("", ".", "..") and part.isprintable() and len(part.encode("utf-8", "replace")) <= MAX_NAME_BYTES
        for part in parts
    )
    if not plain or len(parts) > MAX_DEPTH or "\\" in name:
        raise UserError(f"{where}: the name {name[:200]!r} is not one a repository may hold; rename it there")


def _entries(repository: Path) -> Iterator[tuple[PurePosixPath, os.stat_result]]:
    """Every folder, then what is in it. Raises UserError."""
    if not repository.is_dir() or not any(path.is_dir() for path in repository.iterdir()):
        raise UserError(f"{repository}: no model repository: name a folder with a folder for each model")
    for place, folders, files in os.walk(repository):
        folders[:] = sorted(name for name in folders if not LEFT_OUT.match(name))
        inside = PurePosixPath(Path(place).relative_to(repository).as_posix())
        for name in [*folders, *sorted(name for name in files if not LEFT_OUT.match(name))]:
            path, facts = inside / name, (Path(place) / name).lstat()
            refuse_unsafe(str(path), repository)
            if not stat.S_ISREG(facts.st_mode) and not stat.S_ISDIR(facts.st_mode):
                kind = "a link" if stat.S_ISLNK(facts.st_mode) else "no regular file"
                raise UserError(f"{repository / path}: it is {kind}: put the file itself there, or take it out")
            yield path, facts


def _add(tar: tarfile.TarFile, repository: Path, path: PurePosixPath, facts: os.stat_result) -> None:
    info = tarfile.TarInfo(str(path))
    info.mtime = int(facts.st_mtime)
    if stat.S_ISDIR(facts.st_mode):
        info.type, info.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(info)
        return
    info.mode, info.size = 0o600, facts.st_size
    changed = f"{repository / path}: changed while it was sealed: run it again when nothing writes there"
    try:
        with os.fdopen(os.open(repository / path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
            if os.fstat(source.fileno()).st_size != facts.st_size:
                raise UserError(changed)
            tar.addfile(info, source)
    except FileNotFoundError as err:
        raise UserError(changed) from err
    except OSError as err:
        if err.errno is None:  # tarfile's own: the file ended early
            raise UserError(changed) from err
        raise


def _stream_key(key: Key, header: Header) -> bytes:
    return key.derived(b"ai102 bundle 1 " + header.packed(), salt=header.salt)


def _damaged(file: Path, key_id: str) -> UserError:
    other = f", or sealed with another key called {key_id}" if key_id else ""
    return UserError(f"{file}: altered or cut short{other}: nothing of it was kept; fetch it again")
