"""The stand-in provider speaks as a real one: PyJWT's own client takes its tokens."""

from __future__ import annotations

import jwt
import pytest

from .stand_in_oidc import Alg, StandInProvider


@pytest.mark.e2e
@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_its_tokens_verify_with_its_jwks(alg: Alg) -> None:
    with StandInProvider() as provider:
        provider.rotate(alg)
        token = provider.token(alg=alg, groups=["ml-team", "staff"])
        keys = jwt.PyJWKClient(provider.jwks_url)
        said = jwt.decode(
            token, keys.get_signing_key_from_jwt(token), algorithms=[alg], audience=provider.audience,
            issuer=provider.issuer,
        )  # fmt: skip
    assert (said["groups"], provider.requests) == (["ml-team", "staff"], ["/realms/example/protocol/certs"])
