"""A stand-in for an issuer: keys made for the test, tokens of any shape, and the state the door reads."""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ai102.artifact import write_text

ISSUER, AUDIENCE, KEY_ID = "https://ai102.example", "ai102", "test-key"


class TokenMaker:
    """One RS256 key; `token` signs what it is told to, `state` is what the door needs to believe it."""

    def __init__(self, issuer: str = ISSUER, audience: str = AUDIENCE, key_id: str = KEY_ID) -> None:
        self.issuer, self.audience, self.key_id = issuer, audience, key_id
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def token(
        self,
        subject: str = "ann",
        grants: Sequence[Mapping[str, Any]] = (),
        *,
        headers: Mapping[str, Any] | None = None,
        without: Sequence[str] = (),
        **claims: Any,
    ) -> str:
        """A token for `subject`, valid two hours; `claims` and `headers` go over the usual ones."""
        now = int(time.time())
        body = {
            "iss": self.issuer, "aud": self.audience, "sub": subject, "iat": now, "nbf": now, "exp": now + 7200,
            "jti": uuid.uuid4().hex, "sid": uuid.uuid4().hex, "roles": [], "grants": list(grants),
        } | claims  # fmt: skip
        kept = {name: value for name, value in body.items() if name not in without}
        head = {"typ": "at+jwt", "kid": self.key_id} | dict(headers or {})
        return jwt.encode(kept, self.key, algorithm="RS256", headers=head)

    def state(
        self, revoked: Mapping[str, Any] | None = None, role_grants: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The content of state.json with this maker's key."""
        return {
            "version": 1,
            "written": time.time(),
            "issuers": {
                self.issuer: {
                    "audience": self.audience,
                    "roles_claim": "roles",
                    "roles": {},
                    "trusts_grants": True,
                    "keys": {self.key_id: {"alg": "RS256", "pem": self.pem}},
                    "revoked": {"jti": {}, "sid": {}, "sub": {}} | dict(revoked or {}),
                    "fetched": time.time(),
                }
            },
            "role_grants": dict(role_grants or {}),
            "routes": {"/v1/classify": "classify_image", "/v1/embed": "embed_text"},
        }

    def write_state(self, path: Path, **options: Any) -> None:
        write_text(path, json.dumps(self.state(**options)))
