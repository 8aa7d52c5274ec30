"""TLS and credentials of the clients of jobs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ai102.client import InferenceError, NoServerError, TlsError, WrongProtocolError
from ai102.client.tls import Tls
from ai102.errors import UserError
from ai102.gateway import certs
from tests.client.terminators import Terminator
from tests.jobs.faulty import Proxy, faulty, say

PAGE = say(200, {"jobs": []})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tls")
    for name in ("ours", "others"):
        certs.make(root / name, ["gateway.example"])
    return root


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with faulty("http://127.0.0.1:9") as stand_in:
        stand_in.faults = [("GET /v1/jobs", PAGE)] * 3
        yield stand_in


def terminator(proxy: Proxy, folder: Path, **options: Any) -> Terminator:
    certificate = folder / "ours" / "server.pem"
    return Terminator(proxy.url.removeprefix("http://"), certificate, alpn="http/1.1", **options)


@pytest.mark.parametrize("options", [{}, {"server_name": "gateway.example"}], ids=["by address", "by name"])
def test_a_server_that_is_trusted_answers(connect: Any, proxy: Proxy, folder: Path, options: dict[str, str]) -> None:
    tls = Tls(ca_file=folder / "ours" / "ca.pem", **options)
    with terminator(proxy, folder) as inside, connect(f"https://{inside.address}", tls=tls) as jobs:
        assert jobs.list() == []


def test_a_server_that_is_not_trusted_gets_no_token(connect: Any, proxy: Proxy, folder: Path) -> None:
    tls = Tls(ca_file=folder / "others" / "ca.pem")
    with (
        terminator(proxy, folder) as inside,
        connect(f"https://{inside.address}", tls=tls, token="t") as jobs,
        pytest.raises(TlsError, match="the server's certificate is not trusted"),
    ):
        jobs.list()
    assert proxy.requests == []


def test_our_certificate_is_shown(connect: Any, proxy: Proxy, folder: Path) -> None:
    ours = folder / "ours"
    tls = Tls(ca_file=ours / "ca.pem", certificate_file=ours / "client.pem")
    with terminator(proxy, folder, client_ca=ours / "ca.pem") as inside:
        with connect(f"https://{inside.address}", tls=tls) as jobs:
            assert jobs.list() == []
        plain = Tls(ca_file=ours / "ca.pem")
        with connect(f"https://{inside.address}", tls=plain) as jobs, pytest.raises(InferenceError) as caught:
            jobs.list()
        assert isinstance(caught.value, TlsError | NoServerError)


def test_tls_to_a_server_without_is_told_apart(connect: Any, proxy: Proxy) -> None:
    url, words = proxy.url.replace("http:", "https:"), "the server does not speak TLS; write http://"
    with connect(url) as jobs, pytest.raises(WrongProtocolError, match=words):
        jobs.list()


def test_tls_with_a_url_without_is_refused(connect: Any) -> None:
    with pytest.raises(UserError, match="the URL is not for TLS: write https://"):
        connect("http://127.0.0.1:9", tls=Tls())


def test_the_token_and_the_headers_go_with_every_request(connect: Any, proxy: Proxy) -> None:
    seen = []

    def note(handler: Any) -> None:
        seen.append((handler.headers["Authorization"], handler.headers["X-Name"]))
        PAGE(handler)

    proxy.faults = [("GET", note), ("GET", note)]
    with connect(proxy.url, token="secret", headers={"x-name": "y"}) as jobs:
        jobs.list()
        jobs.list()
        assert "secret" not in repr(vars(getattr(jobs, "client", jobs)))
    assert seen == [("Bearer secret", "y")] * 2


def test_a_token_that_is_no_header_is_refused_without_being_shown(connect: Any) -> None:
    with pytest.raises(UserError) as caught:
        connect("http://127.0.0.1:9", token="line\nbreak")
    assert "break" not in str(caught.value)
