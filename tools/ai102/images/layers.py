"""A layer of an image as a tar archive that is the same, byte for byte, on any day and machine.

Fixed are order, times, owners and modes. The archive is not compressed: what gzip writes depends on its library, and
quantized weights shrink little.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ai102.images.repository import RepositoryFile

MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar"
FOLDER_MODE, FILE_MODE = 0o755, 0o644
# Programs that unpack warn of files of 1970-01-01 00:00:00, second 0.
TIME_S = 1


@dataclass(frozen=True)
class Blob:
    """A file of an OCI layout: its hash in hexadecimal, and its size."""

    sha256: str
    size: int

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha256}"


class _Hashing(io.RawIOBase):
    """Passes on what is written, and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        view = memoryview(content)  # type: ignore[arg-type]
        self.digest.update(view)
        self.size += view.nbytes
        self._file.write(view)
        return view.nbytes


def write_layer(
    path: Path, folders: Sequence[str], files: Sequence[RepositoryFile], file_mode: int = FILE_MODE
) -> Blob:
    """Write the tar archive of these folders and files to `path`; both are taken in the order given."""
    with path.open("wb") as raw:
        hashing = _Hashing(raw)
        with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for folder in folders:
                archive.addfile(_member(f"{folder}/", 0, FOLDER_MODE, tarfile.DIRTYPE))
            for file in files:
                with file.source.open("rb") as content:
                    archive.addfile(_member(file.path, file.size, file_mode, tarfile.REGTYPE), content)
    return Blob(hashing.digest.hexdigest(), hashing.size)


def _member(name: str, size: int, mode: int, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.type, member.mtime = size, mode, kind, TIME_S
    return member
