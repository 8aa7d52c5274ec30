"""What an issuer publishes, read with suspicion: its keys (RFC 7517) as PEM, and its list of revoked tokens."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWK
from jwt.exceptions import PyJWTError

MAX_KEYS = 16
RSA_BITS = range(2048, 8193)
# What a public exponent may be: smaller ones are weak, larger ones slow.
RSA_EXPONENTS = range(65537, 1 << 32)
ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
LISTS = ("jti", "sid", "sub")

Keys = dict[str, dict[str, str]]
Revoked = dict[str, dict[str, float]]


class KeySet(NamedTuple):
    """The keys that can be used, by kid, as {"alg", "pem"}; and one line for each that cannot."""

    keys: Keys
    left_out: tuple[str, ...]


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


def revoked_from(text: bytes) -> Revoked:
    """{"jti", "sid", "sub"}, each of name to seconds since 1970. Raises ValueError when it is anything else."""
    document = _object(text)
    revoked: Revoked = {}
    for name in LISTS:
        times = document.get(name, {})
        if not isinstance(times, dict) or not all(_is_number(time) for time in times.values()):
            raise ValueError(f'"{name}" is no table of times')
        revoked[name] = times
    return revoked


def _object(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except RecursionError as err:
        raise ValueError("nested too deep") from err
    if not isinstance(document, dict):
        raise ValueError("no JSON object")
    return document


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
