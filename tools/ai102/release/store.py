"""The folder of releases: a file each, written whole or not at all and never another one under its name."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ai102.artifact import write_bytes
from ai102.errors import UserError
from ai102.release.document import PREFIX, Release
from ai102.release.envelope import SUFFIX, Built, Envelope, envelope_from_file
from ai102.release.history import Event, History
from ai102.release.keys import Known, Signer


@dataclass(frozen=True)
class Store:
    """`known` are the keys whose signatures count, by id; a false signature of one is refused at every reading."""

    folder: Path
    history: History
    known: dict[str, Known]

    def add(self, release: Release, built: Built, signer: Signer | None) -> tuple[Envelope, bool]:
        """The release as it is kept, and whether it was written now: one of the same content stays as it was built."""
        with self._changing():
            file = self._file(release.name)
            is_new = not file.exists()
            envelope = Envelope(release, built) if is_new else self._read(file)
            if envelope.release.sha256 != release.sha256:
                raise UserError(f"{file}: another release has the same name: remove none, and build from other sources")
            signed = envelope.signed(signer, built.at, built.by) if signer else envelope
            if is_new or signed is not envelope:
                self._write(signed)
            self._catch_up(signed)
            return signed, is_new

    def sign(self, name: str, signer: Signer, at: str, by: str) -> tuple[Envelope, bool]:
        """The signed release, and whether it was signed now; by a key that had signed it, nothing is written."""
        with self._changing():
            envelope = self.get(name)
            signed = envelope.signed(signer, at, by)
            if signed is not envelope:
                self._write(signed)
            self._catch_up(signed)
            return signed, signed is not envelope

    def get(self, name: str) -> Envelope:
        """By its name or the unique beginning of it, with or without "r-". Raises UserError."""
        digits = name.removeprefix(PREFIX)
        if not digits:
            raise UserError(f'"{name}" names no release: {self._what_there_is()}')
        names = [each for each in self.names() if each.removeprefix(PREFIX).startswith(digits)]
        if len(names) != 1:
            among = f"there are {', '.join(names)}" if names else self._what_there_is()
            raise UserError(f"{self.folder}: {'several releases' if names else 'no release'} {name}: {among}")
        return self._read(self._file(names[0]))

    def names(self) -> list[str]:
        return sorted(file.name.removesuffix(SUFFIX) for file in self.folder.glob(f"{PREFIX}*{SUFFIX}"))

    def all(self) -> tuple[list[Envelope], list[str]]:
        """Every whole release, the oldest first, and for each other file one line that says what is wrong."""
        envelopes, problems = [], []
        for name in self.names():
            try:
                envelopes.append(self._read(self._file(name)))
            except UserError as err:
                problems.append(str(err))
        return sorted(envelopes, key=lambda each: (each.built.at, each.name)), problems

    def record(self, event: Event) -> None:
        """After the events that follow from the release's own file."""
        with self._changing():
            if event.release in self.names():
                self._catch_up(self.get(event.release))
            self.history.record(event)

    def _catch_up(self, envelope: Envelope) -> None:
        """The rows that follow from the file: whoever was killed before writing them is caught up with here."""
        detail = {"sha256": envelope.release.sha256}
        self.history.record_once(
            Event(envelope.built.at, envelope.name, "built", envelope.built.by, why=envelope.built.note, detail=detail),
            *(
                Event(each.at, envelope.name, "signed", each.by, detail={"key": each.key})
                for each in envelope.signatures
            ),
        )

    def _read(self, file: Path) -> Envelope:
        envelope = envelope_from_file(file)
        envelope.signers(self.known)
        return envelope

    def _write(self, envelope: Envelope) -> None:
        try:
            write_bytes(self._file(envelope.name), envelope.content, 0o644)
        except OSError as err:
            if err.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            raise UserError(
                f"{self.folder}: {err.strerror}: give this user the right to write there, or name another by --store"
            ) from err

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"

    def _what_there_is(self) -> str:
        names = self.names()
        return f"there are {', '.join(names)}" if names else "`ai102 release build` writes one"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One process at a time changes the folder; the lock ends with the process."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as err:
            raise UserError(f"{self.folder}: is no folder: name one by --store") from err
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            for leftover in self.folder.glob(f".{PREFIX}*"):  # of a process that was killed while it wrote
                with suppress(OSError):
                    leftover.unlink()
            yield
        finally:
            os.close(handle)
