"""An OpenID provider that is not our issuer: its own claim names, key types and code, for the gateway's tests.

Its tokens name groups instead of roles, its JWKS is at another path and holds keys a verifier must pass over:
one for encryption and one that is a shared secret.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

Alg = Literal["ES256", "RS256"]


class StandInProvider:
    """A provider on a free port of 127.0.0.1; use it as a context manager.

    Attributes: `issuer` (its iss), `audience`, `jwks_url`, `requests` (paths asked for so far), and `is_broken`:
    set it and every answer is 500, as of a provider that is down.
    """

    audience = "models-at-example"

    def __init__(self) -> None:
        self.is_broken = False
        self.requests: list[str] = []
        self.rsa_keys = {"rsa-2026": rsa.generate_private_key(65537, 2048)}
        self.ec_keys = {"ec-2026": ec.generate_private_key(ec.SECP256R1())}
        self.secret = hashlib.sha256(b"the shared secret in the JWKS").digest()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.issuer = f"{self.url}/realms/example"
        self.jwks_url = f"{self.url}/realms/example/protocol/certs"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(
        self,
        sub: str = "5f0c-bob",
        groups: Sequence[str] | str = ("ml-team",),
        *,
        alg: Alg = "ES256",
        kid: str | None = None,
        header: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A signed token for an hour; `header` and `claims` replace or add members, None takes one away."""
        now = int(time.time())
        payload = {
            "iss": self.issuer,
            "aud": [self.audience, "account"],
            "sub": sub,
            "iat": now,
            "exp": now + 3600,
            "jti": uuid.uuid4().hex,
            "azp": "some-client",
            "preferred_username": "bob",
            "groups": groups if isinstance(groups, str) else list(groups),
        }
        keys = self.ec_keys if alg == "ES256" else self.rsa_keys
        named = kid or next(reversed(keys))
        head = {"alg": alg, "typ": "JWT", "kid": named}
        signed = f"{_part(head | dict(header or {}))}.{_part(payload | claims)}"
        return f"{signed}.{_b64(self._signature(signed.encode(), alg, named))}"

    def rotate(self, alg: Alg = "ES256", *, drop_old: bool = False) -> str:
        """A new key that signs from now on; gives its kid."""
        kid = f"{alg[:2].lower()}-{uuid.uuid4().hex[:8]}"
        if alg == "ES256":
            kept = {} if drop_old else self.ec_keys
            self.ec_keys = {**kept, kid: ec.generate_private_key(ec.SECP256R1())}
        else:
            self.rsa_keys = {**({} if drop_old else self.rsa_keys), kid: rsa.generate_private_key(65537, 2048)}
        return kid

    def jwks(self) -> dict[str, Any]:
        """Every key, and with them what no token may be verified with."""
        encryption = {"use": "enc", "alg": "RSA-OAEP"}
        first = next(iter(self.rsa_keys.values()))
        return {
            "keys": [
                {"kty": "oct", "kid": "shared", "use": "sig", "alg": "HS256", "k": _b64(self.secret)},
                {"kid": "for-encryption", **encryption, **_rsa_numbers(first)},
                *(
                    {"kid": kid, "use": "sig", "alg": "RS256", **_rsa_numbers(key)}
                    for kid, key in self.rsa_keys.items()
                ),
                # Without alg and use, as RFC 7517 allows.
                *({"kid": kid, **_ec_numbers(key)} for kid, key in self.ec_keys.items()),
                {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": _b64(b"\1" * 32)},
            ]
        }

    def _signature(self, content: bytes, alg: Alg, kid: str) -> bytes:
        if alg == "RS256":
            return self.rsa_keys[kid].sign(content, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self.ec_keys[kid].sign(content, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def _answer(self, path: str) -> tuple[int, dict[str, Any]]:
        if self.is_broken:
            return 500, {"error": "down"}
        discovery = {"issuer": self.issuer, "jwks_uri": self.jwks_url, "response_types_supported": ["code"]}
        pages = {
            "/realms/example/protocol/certs": self.jwks(),
            "/realms/example/.well-known/openid-configuration": discovery,
        }
        return (200, pages[path]) if path in pages else (404, {"error": "not found"})

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.requests.append(self.path)
                status, content = provider._answer(self.path)
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _part(members: Mapping[str, Any]) -> str:
    return _b64(json.dumps({name: value for name, value in members.items() if value is not None}).encode())


def _rsa_numbers(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    n, e = (number.to_bytes((number.bit_length() + 7) // 8, "big") for number in (numbers.n, numbers.e))
    return {"kty": "RSA", "n": _b64(n), "e": _b64(e)}


def _ec_numbers(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {
        "kty": "EC", "crv": "P-256", "x": _b64(numbers.x.to_bytes(32, "big")), "y": _b64(numbers.y.to_bytes(32, "big"))
    }  # fmt: skip


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
