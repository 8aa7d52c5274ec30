"""When to come back, as both proxies say it and ai102.client reads it."""

import numpy as np
import pytest

from ai102.client import BusyError, Client, RateLimitedError, Retry, Tls
from ai102.gateway.running import ProxyName, Runner
from tests.gateway.conftest import Home, MakeHome, needs

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("proxy", [pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")]),
]
PROTOCOLS = ("https", "grpcs")
ENOUGH = 12


def client_of(home: Home, protocol: str, token: str) -> Client:
    address = home.gateway.listen.rest if protocol == "https" else home.gateway.listen.grpc
    return Client(
        f"{protocol}://localhost:{address.rpartition(':')[2]}",
        tls=Tls(ca_file=home.ca),
        headers={"authorization": f"Bearer {token}"},
        retry=Retry(tries=1),
    )


def ask(home: Home, protocol: str, token: str, times: int = 1) -> None:
    with client_of(home, protocol, token) as client:
        for _ in range(times):
            client.infer("echo", {"IN": np.zeros(4, np.uint8)})


def test_a_subject_over_its_rate_is_told(proxy: ProxyName, make_home: MakeHome, caller: str) -> None:
    home = make_home(limits={"requests_per_10s": ENOUGH // 2})
    with Runner(home.gateway, home.folder, proxy, home.folder / "log"):
        for protocol in PROTOCOLS:
            with pytest.raises(RateLimitedError, match="Too many requests; try again in 1 s") as told:
                ask(home, protocol, caller, ENOUGH)
            assert told.value.retry_after_s == 1


def test_who_asks_while_no_replica_is_there_is_told(proxy: ProxyName, make_home: MakeHome, caller: str) -> None:
    home = make_home([("127.0.0.1:9", "127.0.0.1:10")])
    with Runner(home.gateway, home.folder, proxy, home.folder / "log"):
        for protocol in PROTOCOLS:
            with pytest.raises(BusyError, match="The service is not available; try again in 1 s") as told:
                ask(home, protocol, caller)
            assert told.value.retry_after_s == 1
