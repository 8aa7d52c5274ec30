"""A stand-in for an issuer: keys made for the test, tokens of any shape, and the state the gateway reads."""

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
JOURNAL = "tests.1.log"
INFER_ECHO: dict[str, Any] = {"verbs": ["infer"], "models": ["echo"]}
# The roles that the state of the tests knows, and their grants.
ROLES: dict[str, list[dict[str, Any]]] = {
    "caller": [{"verbs": ["infer", "describe"], "models": ["echo"]}],
    "operator": [{"verbs": ["infer", "describe", "administer"], "models": ["*"]}],
    "all": [{"verbs": ["infer", "describe"], "models": ["*"]}],
    "echo": [INFER_ECHO],
    "small": [INFER_ECHO | {"max_body_bytes": 10}],
    "versioned": [INFER_ECHO | {"versions": ["1"]}],
    "elsewhere": [INFER_ECHO | {"networks": ["10.0.0.0/8"]}],
    "here": [INFER_ECHO | {"networks": ["127.0.0.0/8"]}],
    "embedder": [{"verbs": ["infer"], "models": ["echo", "embed_text"]}],
    "sealed": [{"verbs": ["infer", "describe"], "models": ["echo", "sealed_echo"]}],
    "classifier": [{"verbs": ["infer", "describe"], "models": ["score_image", "classify_image"]}],
    "radiologist": [INFER_ECHO | {"user": {"department": "radiology"}}],
}


class TokenMaker:
    """One RS256 key; `token` signs its arguments, `state` is what the gateway needs to accept it."""

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
        """A token for `subject`, valid two hours; `claims` and `headers` go over the usual ones.

        Its role is the one of ROLES that has these grants.
        """
        now = int(time.time())
        roles = [role for role, those in ROLES.items() if those == list(grants)]
        assert roles or not grants, f"no role of ROLES has the grants {grants}"
        body = {
            "iss": self.issuer, "aud": self.audience, "sub": subject, "iat": now, "nbf": now, "exp": now + 7200,
            "jti": uuid.uuid4().hex, "sid": uuid.uuid4().hex, "roles": roles, "attributes": {},
        } | claims  # fmt: skip
        kept = {name: value for name, value in body.items() if name not in without}
        head = {"typ": "at+jwt", "kid": self.key_id} | dict(headers or {})
        return jwt.encode(kept, self.key, algorithm="RS256", headers=head)

    def state(self, role_grants: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The content of state.json with this maker's key."""
        return {
            "version": 2,
            "written": time.time(),
            "issuers": {
                self.issuer: {
                    "audience": self.audience,
                    "roles_claim": "roles",
                    "roles": {},
                    "is_ours": True,
                    "keys": {self.key_id: {"alg": "RS256", "pem": self.pem}},
                    "revoked": JOURNAL,
                    "fetched": time.time(),
                }
            },
            "role_grants": dict(role_grants or ROLES),
            "routes": {"/v1/classify": "classify_image", "/v1/embed": "embed_text"},
        }

    def write_state(self, path: Path, **options: Any) -> None:
        """state.json, and the journal of revocations that it names, empty when there is none."""
        journal = path.parent / "revoked" / JOURNAL
        if not journal.exists():
            write_text(journal, "")
        write_text(path, json.dumps(self.state(**options)))

    def revoke(self, path: Path, kind: str, value: str, not_before_s: int = 0) -> None:
        """Add a revocation, good for two hours, to the journal beside the state.json at `path`."""
        with (path.parent / "revoked" / JOURNAL).open("a") as journal:
            journal.write(f"{kind} {int(time.time()) + 7200} {not_before_s} {value}\n")
