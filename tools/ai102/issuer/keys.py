"""The issuer's RSA keys: one signs, the former still verifies, and a new one is published before it signs."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ai102.artifact import write_bytes
from ai102.errors import UserError
from ai102.issuer import private
from ai102.issuer.settings import Settings

INDEX = "keys.json"
MIN_BITS = 2048
# How often an index is read again because another process replaces it meanwhile.
READ_TRIES = 5
DAY_S = 24 * 3600


@dataclass(frozen=True)
class Entry:
    """A key in the index, which is the truth: a PEM file not named there is no key. Times are epoch seconds."""

    kid: str
    signs_from_s: float
    ends_s: float | None = None  # until then it is in the JWKS; None: it is not replaced yet


@dataclass(frozen=True)
class Key:
    """One key with its private half; `kid` is the RFC 7638 thumbprint of the public half."""

    kid: str
    private: rsa.RSAPrivateKey

    @property
    def jwk(self) -> dict[str, str]:
        numbers = self.private.public_key().public_numbers()
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": _b64(numbers.n), "e": _b64(numbers.e)}


@dataclass(frozen=True)
class Jwks:
    """The document and its entity tag."""

    body: bytes
    etag: str


@dataclass(frozen=True)
class _Index:
    """The index as it was read, with every key that it names; `file_state` differs between versions of the file."""

    file_state: tuple[int, ...]
    entries: tuple[Entry, ...]
    keys: Mapping[str, Key]

    def valid(self, now_s: float) -> list[Entry]:
        return [entry for entry in self.entries if entry.ends_s is None or entry.ends_s > now_s]


class Keys:
    """The folder of keys. A change by another process is seen at the next call; threads may share it."""

    def __init__(self, folder: Path, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.folder = private.folder(folder)
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._index: _Index | None = None
        with self._alone():
            if not (self.folder / INDEX).exists():
                self._write([Entry(self._new_key().kid, self._clock())])
        self.signing()

    def signing(self) -> Key:
        """The key that signs now."""
        now = self._clock()
        index = self._load()
        entries = index.valid(now)
        # After the clock was set back no key may have begun: the eldest signs.
        begun = [entry for entry in entries if entry.signs_from_s <= now] or entries[:1]
        if not begun:
            raise UserError(f"{self.folder / INDEX}: no key that may sign: run `ai102 auth rotate-keys`")
        return index.keys[begun[-1].kid]

    def verifying(self, kid: str) -> Key | None:
        """The published key of this id."""
        return next((key for key in self._published() if key.kid == kid), None)

    def jwks(self) -> Jwks:
        body = json.dumps({"keys": [key.jwk for key in self._published()]}).encode()
        return Jwks(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

    def due_s(self) -> dict[str, float]:
        """By id, when each key that nothing replaces yet is due to be rotated."""
        standing = [entry for entry in self._load().valid(self._clock()) if entry.ends_s is None]
        return {entry.kid: entry.signs_from_s + self._settings.key_days * DAY_S for entry in standing}

    def rotate(self, *, drop_old: bool = False, at_once: bool = False) -> Entry:
        """Make a key that signs from `publish_ahead_s` on (at once when asked to, or when the old ones are dropped).

        The former key stays in the JWKS until its last token has expired; UserError when two are there already.
        """
        with self._alone():
            now = self._clock()
            standing = self._load().valid(now)
            former_ends = [entry.ends_s for entry in standing if entry.ends_s is not None]
            if former_ends and not drop_old:
                ends = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(max(former_ends)))
                raise UserError(
                    f"the former key still verifies tokens until {ends}: rotate after that, "
                    "or end all tokens now with `ai102 auth rotate-keys --drop-old`"
                )
            signs_from = now if drop_old or at_once else now + self._settings.publish_ahead_s
            ends_s = signs_from + self._settings.token_lifetime_s + self._settings.clock_skew_s
            entry = Entry(self._new_key().kid, signs_from)
            kept = [] if drop_old else [Entry(one.kid, one.signs_from_s, ends_s) for one in standing]
            self._write([*kept, entry])
            return entry

    def _published(self) -> list[Key]:
        index = self._load()
        return [index.keys[entry.kid] for entry in index.valid(self._clock())]

    def _load(self) -> _Index:
        """The index of now. Callers use this one object: another thread may load a later index at any moment."""
        file = self.folder / INDEX
        with self._lock:
            try:
                for tries_left in reversed(range(READ_TRIES)):
                    file_state = _state_of(file)
                    if self._index is None or self._index.file_state != file_state:
                        try:
                            self._index = self._read_index(file, file_state)
                        except FileNotFoundError:
                            # A key file of an index that another process replaced meanwhile: read the new index.
                            if tries_left and _state_of(file) != file_state:
                                continue
                            raise
                    return self._index
            except FileNotFoundError as err:
                raise UserError(f"{err.filename}: no such file: put a backup in its place or move {file} away") from err
            except (ValueError, KeyError, TypeError) as err:
                raise UserError(f"{file}: not an index of keys ({err}): put a backup in its place") from err
        raise AssertionError("the last try returns or raises")

    def _read_index(self, file: Path, file_state: tuple[int, ...]) -> _Index:
        entries = tuple(Entry(**row) for row in json.loads(file.read_text(encoding="utf-8"))["keys"])
        known = self._index.keys if self._index else {}
        keys = {entry.kid: known.get(entry.kid) or self._read(entry.kid) for entry in entries}
        return _Index(file_state, entries, keys)

    def _read(self, kid: str) -> Key:
        file = self.folder / f"{kid}.pem"
        private.check(file)
        try:
            key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        except ValueError as err:
            raise UserError(f"{file}: not a private key in PEM ({err}): put a backup in its place") from err
        if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < MIN_BITS or thumbprint(key.public_key()) != kid:
            raise UserError(
                f"{file}: not the RSA key its name says, or under {MIN_BITS} bits: put a backup in its place"
            )
        return Key(kid, key)

    def _new_key(self) -> Key:
        private_key = rsa.generate_private_key(public_exponent=65537, key_size=max(self._settings.key_bits, MIN_BITS))
        key = Key(thumbprint(private_key.public_key()), private_key)
        pem = private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_bytes(self.folder / f"{key.kid}.pem", pem)
        return key

    def _write(self, entries: list[Entry]) -> None:
        index = {"version": 1, "keys": [asdict(entry) for entry in entries]}
        write_bytes(self.folder / INDEX, json.dumps(index, indent=1).encode())
        for file in self.folder.glob("*.pem"):
            if file.stem not in {entry.kid for entry in entries}:
                file.unlink()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process changes the keys meanwhile; the lock ends with the process."""
        handle = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _state_of(file: Path) -> tuple[int, ...]:
    facts = file.stat()
    return (facts.st_ino, facts.st_mtime_ns, facts.st_size)


def thumbprint(public: rsa.RSAPublicKey) -> str:
    """RFC 7638: SHA-256 of the required members in their order, without spaces."""
    numbers = public.public_numbers()
    required = json.dumps({"e": _b64(numbers.e), "kty": "RSA", "n": _b64(numbers.n)}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(required.encode()).digest()).rstrip(b"=").decode()


def _b64(number: int) -> str:
    content = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
