"""What an issuer publishes, read with suspicion: its keys (RFC 7517) as PEM, and what it has revoked."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, TypeGuard

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWK
from jwt.exceptions import PyJWTError

MAX_KEYS = 16
RSA_BITS = range(2048, 8193)
# What a public exponent may be: smaller ones are weak, larger ones slow.
RSA_EXPONENTS = range(65537, 1 << 32)
ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
KINDS = ("jti", "sid", "sub")
# A value that the gateway would not take in a token either need not be kept.
VALUE = re.compile(r"[!-~]{1,255}")

Keys = dict[str, dict[str, str]]


class KeySet(NamedTuple):
    """The keys that can be used, by kid, as {"alg", "pem"}; and one line for each that cannot."""

    keys: Keys
    left_out: tuple[str, ...]


class Revocation(NamedTuple):
    """What no token may carry until `ends_s`; for a "sub" those are the tokens issued before `not_before_s`."""

    kind: str
    value: str
    ends_s: int
    not_before_s: int


class RevokedPage(NamedTuple):
    """Some of what an issuer has revoked, in its order; the next page has what comes after the number `next`."""

    feed: str
    next: int
    more: bool
    revocations: tuple[Revocation, ...]


def keys_from_jwks(text: bytes) -> KeySet:
    """The signing keys in a JWKS: RSA of 2048 bits and more, EC on P-256. Raises ValueError when it is no JWKS."""
    rows = _object(text).get("keys")
    if not isinstance(rows, list):
        raise ValueError('no list "keys"')
    keys: Keys = {}
    left_out = []
    for number, row in enumerate(rows):
        try:
            if len(keys) == MAX_KEYS:
                raise ValueError(f"more than {MAX_KEYS} keys")
            kid, key = _key(row)
            if kid in keys:
                raise ValueError("its kid is another key's too")
            keys[kid] = key
        except ValueError as err:
            left_out.append(f"key {number}: {err}")
    return KeySet(keys, tuple(left_out))


def revoked_page_from(text: bytes) -> RevokedPage:
    """One answer of an issuer's address for revocations. Raises ValueError when it is anything else."""
    document = _object(text)
    feed, number, more = document.get("feed"), document.get("next"), document.get("more")
    rows = document.get("revoked")
    if not isinstance(feed, str) or not _is_number(number) or not isinstance(more, bool) or not isinstance(rows, list):
        raise ValueError('no page of revocations: it wants "feed", "next", "more" and "revoked"')
    revocations = tuple(_revocation(row) for row in rows)
    return RevokedPage(feed, number, more, tuple(one for one in revocations if VALUE.fullmatch(one.value)))


def _revocation(row: object) -> Revocation:
    if not isinstance(row, list) or len(row) != 4 or row[0] not in KINDS or not isinstance(row[1], str):
        raise ValueError("a revocation that is no [kind, value, ends, not before]")
    if not _is_number(row[2]) or not _is_number(row[3]):
        raise ValueError("a revocation with a time that is no number of seconds")
    return Revocation(*row)


def _object(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except RecursionError as err:
        raise ValueError("nested too deep") from err
    if not isinstance(document, dict):
        raise ValueError("no JSON object")
    return document


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _key(row: object) -> tuple[str, dict[str, str]]:
    if not isinstance(row, dict):
        raise ValueError("no object")
    kid, kind = row.get("kid"), row.get("kty")
    if not isinstance(kid, str) or not 1 <= len(kid) <= 128 or not kid.isprintable():
        raise ValueError("no kid")
    alg = ALGORITHMS.get(kind) if isinstance(kind, str) else None
    if alg is None or row.get("alg", alg) != alg:
        raise ValueError("neither RS256 nor ES256")
    operations = row.get("key_ops", ["verify"])
    if row.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("not for signatures")
    if "d" in row:
        raise ValueError("a private key, published")
    try:
        public = PyJWK(row, algorithm=alg).key
    except (PyJWTError, ValueError, TypeError) as err:
        raise ValueError(f"not readable ({err})") from err
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size not in RSA_BITS or public.public_numbers().e not in RSA_EXPONENTS:
            raise ValueError(f"an RSA key of {public.key_size} bits or with an unusual exponent")
    elif not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise ValueError("not on the curve P-256")
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return kid, {"alg": alg, "pem": pem.decode()}
