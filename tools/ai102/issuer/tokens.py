"""Access tokens: RS256, of type at+jwt (RFC 9068), with the roles that the gateway resolves to grants."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from ai102.issuer.keys import Key, Keys

TYPE = "at+jwt"
REQUIRED = ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "roles"]


def claims(
    *,
    issuer: str,
    audience: str,
    user: str,
    sid: str,
    roles: Sequence[str],
    attributes: Mapping[str, str],
    now_s: int,
    lifetime_s: int,
) -> dict[str, Any]:
    """What a token says. Times are whole seconds since the epoch."""
    return {
        "iss": issuer,
        "aud": audience,
        "sub": user,
        "iat": now_s,
        "nbf": now_s,
        "exp": now_s + lifetime_s,
        "jti": secrets.token_hex(16),
        "sid": sid,
        "roles": list(roles),
        "attributes": dict(attributes),
    }


def signed(claims: Mapping[str, Any], key: Key) -> str:
    return jwt.encode(dict(claims), key.private, algorithm="RS256", headers={"typ": TYPE, "kid": key.kid})


def verified(token: str, keys: Keys, *, issuer: str, audience: str) -> dict[str, Any] | None:
    """The claims of a token of ours, expired or revoked or not; None for anything else."""
    try:
        header = jwt.get_unverified_header(token)
        key = keys.verifying(str(header.get("kid")))
        if key is None or header.get("typ") != TYPE:
            return None
        payload: dict[str, Any] = jwt.decode(
            token,
            key.private.public_key(),
            algorithms=["RS256"],
            audience=audience,
            issuer=issuer,
            # Times are the caller's to look at: it has the clock, and may want an expired one.
            options={"require": REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
    except jwt.PyJWTError:
        return None
    return payload
