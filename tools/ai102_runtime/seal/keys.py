"""The keys of sealed payloads, by id: from a folder that may change while it is read, or from the environment.

A folder (mode 0700) has one file a key, ID.key (mode 0600), and the file `active` with the id of the key that
seals. All the others open until they are retired. A file is

    -----BEGIN AI102 KEY-----
    Created: 2026-11-25T09:00:00Z
    Status: open                    (or: retired)

    32 bytes in base64
    -----END AI102 KEY-----

or, as a secret store mounts it, the base64 alone. In the environment: AI102_SEAL_KEY_<ID>, base64, the id in capitals
with _ for -; AI102_SEAL_ACTIVE names the key that seals when there are several.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ai102_runtime.seal.envelope import Key
from ai102_runtime.seal.private import NotPrivateError, read_private, refuse_foreign_files

SUFFIX, ACTIVE = ".key", "active"
VARIABLE, ACTIVE_VARIABLE = "AI102_SEAL_KEY_", "AI102_SEAL_ACTIVE"
LOOK_EVERY_S = 1.0
# A key that is not known may have been made just now; whoever sends unknown ids does not make us look more often.
LOOK_AGAIN_S = 0.05
MAX_FILE_BYTES = 4096
OPEN, RETIRED = "open", "retired"
ARMOUR = re.compile(
    r"-----BEGIN AI102 KEY-----\n(?P<facts>(?:[A-Z][a-z]+: [^\n]*\n)*)\n(?P<secret>[^\n]+)\n-----END AI102 KEY-----\Z"
)


class KeysError(ValueError):
    """Keys that cannot be used; one line: which, why, what to do. It holds no secret."""


class KeyFacts(NamedTuple):
    """A key file. `created` is empty where it does not say."""

    key: Key
    created: str
    status: str


class Keys:
    """A fixed set of keys, a Ring; `active_id` names the one that seals."""

    def __init__(self, keys: Mapping[str, Key], active_id: str = "") -> None:
        self._keys = dict(keys)
        self.active_id = active_id

    def __repr__(self) -> str:
        return f"Keys({', '.join(self._keys)}; active {self.active_id or 'none'})"

    def opening(self, key_id: str) -> Key | None:
        """The key, unless it is unknown or retired."""
        return self._keys.get(key_id)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._keys)

    @property
    def active(self) -> Key:
        """The key that seals. Raises KeysError when there is none."""
        if key := self._keys.get(self.active_id):
            return key
        have = ", ".join(self._keys) or "none"
        raise KeysError(f"no active key (keys that open: {have}): make one active with `ai102 keys rotate`")


class KeyFolder:
    """The keys of a folder as they are now, a Ring: it looks for changes at most every second.

    A change that cannot be read (a file with the wrong mode, half a key, no file handle left) leaves the keys of before
    in force until a later look reads it. `warn` gets each problem once. At the start it raises KeysError.
    """

    def __init__(
        self,
        folder: Path,
        warn: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._warn, self._clock = folder, warn, clock
        self._lock = threading.Lock()
        self._looked = clock()
        self._warning = ""
        self._state = _state_of(folder)
        self._keys = keys_from_folder(folder)

    def now(self, every_s: float = LOOK_EVERY_S) -> Keys:
        """The keys in force, those of a look at most `every_s` old."""
        if self._clock() - self._looked >= every_s and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._keys

    def opening(self, key_id: str) -> Key | None:
        """The key, unless it is unknown or retired."""
        return self.now().opening(key_id) or self.now(LOOK_AGAIN_S).opening(key_id)

    @property
    def active(self) -> Key:
        """The key that seals. Raises KeysError when there is none."""
        return self.now().active

    def _look(self) -> None:
        """Take the keys over when something changed. A look that fails is repeated: nothing of it is kept."""
        self._looked = self._clock()
        try:
            state = _state_of(self._folder)
            if state != self._state:
                # The state was read first: a change in between makes the next look differ again.
                self._keys, self._state = keys_from_folder(self._folder, self._keys), state
        except KeysError as problem:
            if self._warning != str(problem):
                self._warning = str(problem)
                self._warn(f"{problem}; the keys of before stay in force")
        else:
            self._warning = ""


def key_from_text(key_id: str, text: str) -> Key:
    """A key from 44 characters of base64. Raises KeysError."""
    try:
        return Key(key_id, base64.b64decode(text.strip(), validate=True))
    except (ValueError, binascii.Error) as err:
        why = "not base64" if isinstance(err, binascii.Error) else str(err)
        raise KeysError(f"key {key_id[:40]!r}: {why}") from None  # its cause may quote the secret


def keys_from_environment(environ: Mapping[str, str]) -> Keys:
    """The keys in AI102_SEAL_KEY_<ID>; empty when there are none. Raises KeysError."""
    keys = {}
    for name, text in environ.items():
        if name.startswith(VARIABLE):
            key = key_from_text(name.removeprefix(VARIABLE).lower().replace("_", "-"), text)
            keys[key.id] = key
    active_id = environ.get(ACTIVE_VARIABLE, "").lower().replace("_", "-") or (
        next(iter(keys)) if len(keys) == 1 else ""
    )
    if active_id and active_id not in keys:
        raise KeysError(f"{ACTIVE_VARIABLE} names {active_id}: there is no {VARIABLE}... for it")
    return Keys(keys, active_id)


def keys_from_folder(folder: Path, before: Keys | None = None) -> Keys:
    """The keys of `folder` that are not retired; those that `before` has too stay the same objects, with their count.

    Raises KeysError.
    """
    facts = facts_of_folder(folder)
    keys = {one.key.id: one.key for one in facts if one.status == OPEN}
    for key_id, key in keys.items():
        known = before.opening(key_id) if before else None
        if known is not None and known.fingerprint == key.fingerprint:
            keys[key_id] = known
    active_id = active_id_of(folder) or (next(iter(keys)) if len(keys) == 1 else "")
    if active_id and active_id not in keys:
        raise KeysError(f"{folder / ACTIVE} names {active_id[:40]!r}: no open key; run `ai102 keys rotate`")
    return Keys(keys, active_id)


def facts_of_folder(folder: Path) -> list[KeyFacts]:
    """Every key file, retired ones too, by id. Raises KeysError, for wrong permissions too."""
    with _as_keys_error(folder):
        refuse_foreign_files(folder)
        # Not glob, which takes a folder that it may not read for an empty one.
        return [_facts_of_file(file) for file in sorted(folder.iterdir()) if file.name.endswith(SUFFIX)]


def active_id_of(folder: Path) -> str:
    """The id in the file `active`, or nothing. Raises KeysError."""
    with _as_keys_error(folder):
        try:
            return (folder / ACTIVE).read_bytes()[:MAX_FILE_BYTES].decode("utf-8", "replace").strip()
        except FileNotFoundError:
            return ""


def text_from_secret(secret: bytes, created: str, status: str) -> str:
    """What stands in a key file."""
    facts = f"Created: {created}\nStatus: {status}\n"
    coded = base64.b64encode(secret).decode("ascii")
    return f"-----BEGIN AI102 KEY-----\n{facts}\n{coded}\n-----END AI102 KEY-----\n"


def _facts_of_file(file: Path) -> KeyFacts:
    text = read_private(file, MAX_FILE_BYTES).decode("utf-8", "replace").strip()
    facts: dict[str, str] = {}
    if text.startswith("-----"):
        armour = ARMOUR.match(text)
        if armour is None:
            raise KeysError(f"{file}: not a whole key file: make another with `ai102 keys new`")
        facts = dict(line.split(": ", 1) for line in armour["facts"].splitlines())
        text = armour["secret"]
    status = facts.get("Status", OPEN)
    if status not in (OPEN, RETIRED):
        raise KeysError(f"{file}: its status is {status[:40]!r}: write {OPEN} or {RETIRED}")
    try:
        return KeyFacts(key_from_text(file.name.removesuffix(SUFFIX), text), facts.get("Created", ""), status)
    except KeysError as err:
        raise KeysError(f"{file}: {err}") from None


def _state_of(folder: Path) -> list[tuple[str, int, int, int, int]]:
    """What changes when a key or `active` does. Raises KeysError."""
    state = []
    with _as_keys_error(folder):
        for file in sorted(folder.iterdir()):
            if file.suffix == SUFFIX or file.name == ACTIVE:
                with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                    facts = file.stat()
                    state.append((file.name, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino))
    return state


@contextmanager
def _as_keys_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except NotPrivateError as err:
        raise KeysError(str(err)) from None
    except FileNotFoundError as err:
        raise KeysError(f"{err.filename or folder}: {err.strerror}: make keys with `ai102 keys new`") from err
    except OSError as err:
        raise KeysError(
            f"{err.filename or folder}: {err.strerror}: user {os.geteuid()} must be able to read it"
        ) from err
