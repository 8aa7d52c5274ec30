"""Tokens that must open nothing: each is tried on REST and on gRPC."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.gateway.conftest import CALLER
from tests.gateway.tokens import KEY_ID, TokenMaker

Forge = Callable[[TokenMaker], str]  # the whole Authorization header
REVOKED = {"jti": "revoked-token", "sid": "revoked-session", "sub": "revoked-user"}
ATTACKER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def good(maker: TokenMaker, **claims: Any) -> str:
    return "Bearer " + maker.token("ann", [CALLER], **claims)


def claims_of(maker: TokenMaker) -> dict[str, Any]:
    return json.loads(base64.urlsafe_b64decode(good(maker).split(".")[1] + "=="))


def unsigned(maker: TokenMaker, alg: str) -> str:
    return f"Bearer {part({'alg': alg, 'typ': 'at+jwt', 'kid': KEY_ID})}.{part(claims_of(maker))}."


def with_hmac(maker: TokenMaker, secret: bytes, alg: str = "HS256") -> str:
    """Signed with what everybody knows, in the hope that the key is taken for a shared secret."""
    signed = f"{part({'alg': alg, 'typ': 'at+jwt', 'kid': KEY_ID})}.{part(claims_of(maker))}"
    return f"Bearer {signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def header(maker: TokenMaker, **more: Any) -> str:
    return "Bearer " + maker.token("ann", [CALLER], headers=more)


def by_attacker(maker: TokenMaker, **more: Any) -> str:
    return "Bearer " + jwt.encode(claims_of(maker), ATTACKER, "RS256", headers={"typ": "at+jwt", "kid": KEY_ID} | more)


def signed_raw(maker: TokenMaker, head: bytes, body: bytes) -> str:
    """Signed with the real key over any bytes, as a careless issuer would."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    signed = f"{part(head)}.{part(body)}".encode()
    return f"Bearer {signed.decode()}.{part(maker.key.sign(signed, PKCS1v15(), SHA256()))}"


def twice(maker: TokenMaker, text: bytes, *, in_head: bool = False) -> str:
    head = json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": KEY_ID}).encode()
    body = json.dumps(claims_of(maker)).encode()
    return signed_raw(maker, text + head[1:] if in_head else head, body if in_head else text + body[1:])


def altered(maker: TokenMaker, number: int) -> str:
    parts = good(maker).removeprefix("Bearer ").split(".")
    parts[number] = parts[number][:-6] + ("A" if parts[number][-6] != "A" else "B") + parts[number][-5:]
    return "Bearer " + ".".join(parts)


def promoted(maker: TokenMaker) -> str:
    """The signature of a caller under the claims of an operator."""
    head, _, signature = good(maker).split(".")
    return f"{head}.{part(claims_of(maker) | {'roles': ['operator']})}.{signature}"


def of_another_curve(maker: TokenMaker) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return "Bearer " + jwt.encode(claims_of(maker), key, "ES256", headers={"typ": "at+jwt", "kid": KEY_ID})


def as_der(maker: TokenMaker) -> bytes:
    return maker.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def now() -> int:
    return int(time.time())


TOKENS: dict[str, Forge] = {
    "no token": lambda m: "",
    "an empty bearer": lambda m: "Bearer ",
    "another scheme": lambda m: "Basic " + base64.b64encode(b"ann:password").decode(),
    "the scheme alone before a good token": lambda m: good(m).replace("Bearer ", "Token "),
    "algorithm none": lambda m: unsigned(m, "none"),
    "algorithm NoNe": lambda m: unsigned(m, "NoNe"),
    "algorithm of nothing": lambda m: unsigned(m, ""),
    "the public key as HMAC secret": lambda m: with_hmac(m, m.pem.encode()),
    "the public key's bytes as HMAC secret": lambda m: with_hmac(m, as_der(m)),
    "HMAC that says RS256": lambda m: with_hmac(m, m.pem.encode(), "RS256"),
    "an empty HMAC secret": lambda m: with_hmac(m, b""),
    "another hash with the right key": lambda m: (
        "Bearer " + jwt.encode(claims_of(m), m.key, "RS512", headers={"kid": KEY_ID})
    ),
    "another padding with the right key": lambda m: (
        "Bearer " + jwt.encode(claims_of(m), m.key, "PS256", headers={"kid": KEY_ID})
    ),
    "an elliptic key under the RSA key's id": of_another_curve,
    "no exp": lambda m: "Bearer " + m.token("ann", [CALLER], without=["exp"]),
    "exp in the past": lambda m: good(m, exp=now() - 60),
    "exp as text": lambda m: good(m, exp=str(now() + 600)),
    "exp as null": lambda m: good(m, exp=None),
    "exp as a list": lambda m: good(m, exp=[now() + 600]),
    "nbf in the future": lambda m: good(m, nbf=now() + 600),
    "iat in the future": lambda m: good(m, iat=now() + 600),
    "another issuer": lambda m: good(m, iss="https://evil.example"),
    "an issuer that begins like ours": lambda m: good(m, iss=m.issuer + ".evil.example"),
    "no issuer": lambda m: "Bearer " + m.token("ann", [CALLER], without=["iss"]),
    "another audience": lambda m: good(m, aud="other"),
    "a list of other audiences": lambda m: good(m, aud=["other", "ai102-staging"]),
    "no audience": lambda m: "Bearer " + m.token("ann", [CALLER], without=["aud"]),
    "an audience as an object": lambda m: good(m, aud={"ai102": True}),
    "kid with a path": lambda m: header(m, kid="../../../../dev/null"),
    "kid with a URL": lambda m: header(m, kid="https://evil.example/key.pem"),
    "kid with SQL": lambda m: header(m, kid="x' UNION SELECT 'key"),
    "kid with a Lua pattern": lambda m: header(m, kid=".*"),
    "kid as a number": lambda m: signed_raw(
        m, b'{"alg":"RS256","typ":"at+jwt","kid":1}', json.dumps(claims_of(m)).encode()
    ),
    "no kid": lambda m: signed_raw(m, b'{"alg":"RS256","typ":"at+jwt"}', json.dumps(claims_of(m)).encode()),
    "jku": lambda m: by_attacker(m, jku="https://evil.example/jwks.json"),
    "jku with the right key": lambda m: header(m, jku="https://evil.example/jwks.json"),
    "x5u": lambda m: by_attacker(m, x5u="https://evil.example/chain.pem"),
    "the attacker's key in jwk": lambda m: by_attacker(
        m, jwk=json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(ATTACKER.public_key()))
    ),
    "x5c": lambda m: by_attacker(m, x5c=["MIIB"]),
    "crit": lambda m: header(m, crit=["exp"]),
    "an identity token": lambda m: header(m, typ="id+jwt"),
    "signed by the attacker": by_attacker,
    "a key that was rotated out": lambda m: "Bearer " + TokenMaker().token("ann", [CALLER]),
    "a claim twice": lambda m: twice(m, b'{"sub":"root",'),
    "an escaped claim twice": lambda m: twice(m, b'{"\\u0073ub":"root",'),
    "a header twice": lambda m: twice(m, b'{"alg":"none",', in_head=True),
    "claims after the claims": lambda m: signed_raw(
        m, b'{"alg":"RS256","typ":"at+jwt","kid":"test-key"}', json.dumps(claims_of(m)).encode() + b"{}"
    ),
    "claims that are a list": lambda m: signed_raw(
        m, b'{"alg":"RS256","typ":"at+jwt","kid":"test-key"}', json.dumps([claims_of(m)]).encode()
    ),
    "claims nested 5,000 deep": lambda m: signed_raw(
        m, b'{"alg":"RS256","typ":"at+jwt","kid":"test-key"}', b"[" * 2500 + b"]" * 2500
    ),
    "cut short": lambda m: good(m)[:-40],
    "without its signature": lambda m: good(m).rsplit(".", 1)[0] + ".",
    "two parts": lambda m: good(m).rsplit(".", 1)[0],
    "five parts": lambda m: good(m) + ".x.y",
    "an altered signature": lambda m: altered(m, 2),
    "altered claims": lambda m: altered(m, 1),
    "an altered header": lambda m: altered(m, 0),
    "an operator's claims on a caller's signature": promoted,
    "padded base64": lambda m: good(m) + "==",
    "base64 with a stranger in it": lambda m: good(m).replace(".", ".+", 1),
    "9 kB of claims": lambda m: good(m, more="x" * 9000),
    "no subject": lambda m: "Bearer " + m.token("ann", [CALLER], without=["sub"]),
    "a subject with a line break": lambda m: good(m, sub="ann\r\nX-User: root"),
    "a subject that is a number": lambda m: signed_raw(
        m, b'{"alg":"RS256","typ":"at+jwt","kid":"test-key"}', json.dumps(claims_of(m) | {"sub": 7}).encode()
    ),
    "a subject of 1,000 letters": lambda m: good(m, sub="a" * 1000),
    "a revoked token": lambda m: good(m, jti=REVOKED["jti"]),
    "a revoked session": lambda m: good(m, sid=REVOKED["sid"]),
    "a token from before its user was revoked": lambda m: "Bearer " + m.token(REVOKED["sub"], [CALLER]),
    "two tokens in one header": lambda m: f"{good(m)}, {good(m)}",
}
