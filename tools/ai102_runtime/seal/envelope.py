"""One sealed message between a caller and a model: AES-256-GCM with everything that names it authenticated.

An envelope, numbers big-endian (format 1):

    magic "AIS1" · direction 1 byte · time, ms since 1970, 8 bytes · key id · request id · model · nonce 12 bytes
    ciphertext and tag (16 bytes)

where each of the three names is one byte of length and so many of ASCII. All before the ciphertext, the head, is
associated data; a response has the head of its request there too, so that it answers that request and no other.
Requests and responses have subkeys of their own (HKDF-SHA256, RFC 5869), so that neither passes as the other.

Random 96-bit nonces allow 2^32 messages under one subkey (NIST SP 800-38D, 8.3). A `Key` counts what it sealed and
stops there; it cannot see what other processes seal with the same key, so rotate long before.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import struct
from collections.abc import Callable
from itertools import count
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"AIS1"
REQUEST, RESPONSE = 1, 2
FIXED = struct.Struct(">4sBQ")
KEY_BYTES, NONCE_BYTES, TAG_BYTES = 32, 12, 16
MAX_PAYLOAD_BYTES = 64 << 20
MAX_MESSAGES = 1 << 32
WINDOW_MS = 120_000  # the caller's clock may be so far off, before or after ours
KEY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
MODEL = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
SEALING = ("name", "size", "exhausted")
OUTSIDE = (
    "the sealed payload was refused: seal each request anew, with a current key, this model's name and a right clock"
)


class SealError(ValueError):
    """A message that was not opened (codes format, key, tag, model, time, replay, memory) or sealed (name, size,
    exhausted).

    `code` and `detail` are for the log of the side where it happened. As text, one that was not opened is the same
    sentence whatever the code, for the other side: it does not tell a wrong key from an altered message.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail if code in SEALING else OUTSIDE)
        self.code = code
        self.detail = detail


class Key:
    """256 secret bits under an id of lower-case letters, digits and hyphens. Its repr and str show no secret."""

    def __init__(self, key_id: str, secret: bytes) -> None:
        """Raises ValueError for an id or a length that is not allowed."""
        if not KEY_ID.match(key_id):
            raise ValueError(f'"{key_id}" is no key id: write up to 32 lower-case letters, digits and hyphens')
        if len(secret) != KEY_BYTES:
            raise ValueError(f"key {key_id} has {len(secret)} bytes, not {KEY_BYTES}: make one with `ai102 keys new`")
        self.id = key_id
        self._secret = bytes(secret)
        self._ciphers = {way: AESGCM(self.derived(b"ai102 envelope 1 %d" % way)) for way in (REQUEST, RESPONSE)}
        self._sealed = {way: count(1) for way in (REQUEST, RESPONSE)}

    def __repr__(self) -> str:
        return f"Key({self.id!r}, {self.fingerprint})"

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled")

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell keys apart and tell nothing of the secret."""
        return hashlib.sha256(b"ai102 key fingerprint" + self._secret).hexdigest()[:16]

    def is_same(self, secret: bytes) -> bool:
        return hmac.compare_digest(self._secret, secret)

    def derived(self, purpose: bytes, salt: bytes | None = None) -> bytes:
        """A 32-byte key for `purpose` alone, by HKDF-SHA256."""
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=purpose).derive(self._secret)

    def encrypted(self, way: int, data: bytes, head: bytes, bound: bytes) -> bytes:
        """Ciphertext and tag; the nonce is the end of `head`. Raises SealError once the key has sealed too much."""
        if next(self._sealed[way]) > MAX_MESSAGES:
            raise SealError("exhausted", f"key {self.id} has sealed {MAX_MESSAGES} messages: rotate it")
        return self._ciphers[way].encrypt(head[-NONCE_BYTES:], data, head + bound)

    def decrypted(self, way: int, ciphertext: bytes, head: bytes, bound: bytes) -> bytes:
        """Raises InvalidTag."""
        return self._ciphers[way].decrypt(head[-NONCE_BYTES:], ciphertext, head + bound)


class Head(NamedTuple):
    """What an envelope says of itself in clear; to be believed once the envelope is open."""

    direction: int
    time_ms: int
    key_id: str
    request_id: str
    model: str
    nonce: bytes
    bytes: bytes  # all of the above as it stands in the envelope


class Opened(NamedTuple):
    """A request that was opened; `head` goes to `seal_response` for its answer, through a tensor if need be."""

    data: bytes
    request_id: str
    head: bytes


class SealedRequest(NamedTuple):
    """A request to send, and its head, with which its answer is opened."""

    envelope: bytes
    request_id: str
    head: bytes


class Ring(Protocol):
    """Keys by id."""

    def opening(self, key_id: str) -> Key | None:
        """The key, unless it is unknown or retired."""


class Seen(Protocol):
    """The requests of the last minutes."""

    def is_first(self, key_id: str, nonce: bytes, time_ms: int, now_ms: int) -> bool:
        """Remember this request; False when it was there already. Raises SealError when it cannot tell."""


def seal_request(
    key: Key, data: bytes, model: str, now_ms: int, request_id: str = "", random: Callable[[int], bytes] = os.urandom
) -> SealedRequest:
    """`data` for `model` alone, now. Without a `request_id` it gets a random one. Raises SealError."""
    request_id = request_id or random(16).hex()
    head = _head(REQUEST, now_ms, key.id, request_id, model, random(NONCE_BYTES))
    return SealedRequest(head + key.encrypted(REQUEST, _bounded(data), head, b""), request_id, head)


def open_request(
    keys: Ring, envelope: bytes, model: str, seen: Seen, now_ms: int, window_ms: int = WINDOW_MS
) -> Opened:
    """What the caller sealed for `model`; each request opens once. Raises SealError.

    Checked in this order: format, key, tag, model, time, replay. So nothing that was not sealed with a key gets
    as far as the memory of requests.
    """
    head, ciphertext = _split(envelope, REQUEST)
    data = _decrypted(keys.opening(head.key_id), head, ciphertext, b"")
    if head.model != model:
        raise SealError("model", f"sealed for {head.model}, not for {model}")
    _refuse_other_times(head, now_ms, window_ms)
    if not seen.is_first(head.key_id, head.nonce, head.time_ms, now_ms):
        raise SealError("replay", f"request {head.request_id} was taken before")
    return Opened(data, head.request_id, head.bytes)


def seal_response(
    keys: Ring, request_head: bytes, data: bytes, now_ms: int, random: Callable[[int], bytes] = os.urandom
) -> bytes:
    """The answer to the request with this head, under the request's own key. Raises SealError."""
    request = head_of(request_head, REQUEST)
    key = keys.opening(request.key_id)
    if key is None:
        raise SealError("key", f"no key {request.key_id}")
    head = _head(RESPONSE, now_ms, key.id, request.request_id, request.model, random(NONCE_BYTES))
    return head + key.encrypted(RESPONSE, _bounded(data), head, request.bytes)


def open_response(key: Key, request_head: bytes, envelope: bytes, now_ms: int, window_ms: int = WINDOW_MS) -> bytes:
    """The answer to the request with this head, and to no other. Raises SealError."""
    request = head_of(request_head, REQUEST)
    head, ciphertext = _split(envelope, RESPONSE)
    data = _decrypted(key if head.key_id == key.id else None, head, ciphertext, request.bytes)
    _refuse_other_times(head, now_ms, window_ms)
    return data


def head_of(data: bytes, direction: int) -> Head:
    """The head at the start of `data`. Raises SealError with the code format."""
    if len(data) < FIXED.size or data[:4] != MAGIC:
        raise SealError("format", "no envelope of this format")
    _, way, time_ms = FIXED.unpack_from(data)
    if way != direction:
        raise SealError("format", f"direction {way} instead of {direction}")
    at, names = FIXED.size, []
    for pattern in (KEY_ID, REQUEST_ID, MODEL):
        end = at + 1 + (data[at] if at < len(data) else 0)
        name = bytes(data[at + 1 : end]).decode("latin-1")
        if end > len(data) or not pattern.match(name):
            raise SealError("format", f"the name at byte {at} is not one")
        names.append(name)
        at = end
    nonce, whole = bytes(data[at : at + NONCE_BYTES]), bytes(data[: at + NONCE_BYTES])
    if len(nonce) < NONCE_BYTES:
        raise SealError("format", "it ends within its head")
    key_id, request_id, model = names
    return Head(way, time_ms, key_id, request_id, model, nonce, whole)


def _head(direction: int, time_ms: int, key_id: str, request_id: str, model: str, nonce: bytes) -> bytes:
    if not REQUEST_ID.match(request_id) or not MODEL.match(model):
        raise SealError("name", f"request id {request_id[:64]!r}, model {model[:64]!r}: letters, digits and ._- alone")
    names = b"".join(bytes([len(name)]) + name.encode("ascii") for name in (key_id, request_id, model))
    return FIXED.pack(MAGIC, direction, time_ms) + names + nonce


def _split(envelope: bytes, direction: int) -> tuple[Head, bytes]:
    head = head_of(envelope, direction)
    ciphertext = envelope[len(head.bytes) :]
    if not TAG_BYTES <= len(ciphertext) <= MAX_PAYLOAD_BYTES + TAG_BYTES:
        raise SealError("format", f"{len(ciphertext)} bytes of ciphertext")
    return head, ciphertext


def _decrypted(key: Key | None, head: Head, ciphertext: bytes, bound: bytes) -> bytes:
    if key is None:
        raise SealError("key", f"no key {head.key_id}")
    try:
        return key.decrypted(head.direction, ciphertext, head.bytes, bound)
    except InvalidTag:
        raise SealError("tag", f"altered, or another key is called {head.key_id}") from None


def _refuse_other_times(head: Head, now_ms: int, window_ms: int) -> None:
    if abs(late_ms := now_ms - head.time_ms) > window_ms:
        raise SealError("time", f"sealed {late_ms / 1000:+.1f} s ago by this clock, allowed {window_ms / 1000:g} s")


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_PAYLOAD_BYTES:
        raise SealError("size", f"{len(data)} bytes are too many to seal, at most {MAX_PAYLOAD_BYTES}: send less")
    return data
