"""An open nginx gateway, and the same good request over both protocols."""

from collections.abc import Iterator
from contextlib import contextmanager

from ai102.gateway.running import Runner
from tests.gateway.attackers import Target, asked, called, request
from tests.gateway.attacks_over_grpc import INFER, message
from tests.gateway.attacks_over_rest import BODY, JSON
from tests.gateway.conftest import Home

POST = "POST /v2/models/echo/infer"


@contextmanager
def opened(home: Home, token: str) -> Iterator[Target]:
    """The gateway of `home`, open; its access log is home.folder/log."""
    with Runner(home.gateway, home.folder, "nginx", home.folder / "log"):
        yield Target(home.gateway.listen.rest, home.gateway.listen.grpc, home.ca, token)


def over_both(target: Target, token: str) -> tuple[int, int]:
    """The statuses of the same good request over REST and gRPC."""
    bearer = f"Authorization: Bearer {token}"
    metadata = [("authorization", f"Bearer {token}")]
    return asked(target, request(POST, bearer, JSON, body=BODY)), called(
        target, INFER, message("echo"), metadata=metadata
    )


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]
