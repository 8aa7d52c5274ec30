"""Which server is asked next, and what an address may look like."""

import socket

import pytest

from ai102.client.addresses import REST_S, Balancer, Target, addresses_from_url, is_here, target_from_url
from ai102.errors import UserError


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://127.0.0.1:8000", ("http", ("127.0.0.1:8000",))),
        ("http://127.0.0.1:8000/", ("http", ("127.0.0.1:8000",))),
        ("grpc://a:8001, b:8001", ("grpc", ("a:8001", "b:8001"))),
        ("grpc://[::1]:8001", ("grpc", ("[::1]:8001",))),
    ],
)
def test_a_url_names_a_protocol_and_addresses(url: str, wanted: object) -> None:
    assert addresses_from_url(url) == wanted


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "https://a:1",
        "http://",
        "http://a",
        "http://a:0",
        "http://a:1,",
        "grpc://a:1/v2",
        "http://a:x",
    ],
)
def test_what_is_no_url_of_a_triton_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(UserError, match=r"write \w+://") as caught:
        addresses_from_url(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://gateway:8080", Target("http", True, ("gateway:8080",))),
        ("grpcs://a:8081,b:8081", Target("grpc", True, ("a:8081", "b:8081"))),
        ("grpc://a:8001", Target("grpc", False, ("a:8001",))),
    ],
)
def test_a_url_says_whether_it_is_inside_tls(url: str, wanted: Target) -> None:
    assert target_from_url(url) == wanted


def test_where_tls_is_not_spoken_its_urls_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="TLS, which this command does not speak: write grpc://HOST:PORT"):
        addresses_from_url("grpcs://a:1")


def test_addresses_take_turns() -> None:
    balancer = Balancer(("a", "b", "c"), lambda: 0.0)
    assert [balancer.pick() for _ in range(4)] == ["a", "b", "c", "a"]


def test_one_that_failed_rests_and_comes_back() -> None:
    now = [0.0]
    balancer = Balancer(("a", "b"), lambda: now[0])
    balancer.failed("a")
    assert {balancer.pick() for _ in range(4)} == {"b"}
    now[0] = REST_S
    assert {balancer.pick() for _ in range(4)} == {"a", "b"}


def test_one_that_answered_again_rests_no_longer() -> None:
    balancer = Balancer(("a", "b"), lambda: 0.0)
    balancer.failed("a")
    balancer.answered("a")
    assert {balancer.pick() for _ in range(2)} == {"a", "b"}


def test_when_all_rest_the_one_not_tried_yet_is_asked() -> None:
    balancer = Balancer(("a", "b"), lambda: 0.0)
    balancer.failed("a")
    balancer.failed("b")
    assert [balancer.pick(("a",)) for _ in range(3)] == ["b", "b", "b"]


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("127.0.0.1:8000", True),
        ("127.1.2.3:8000", True),
        ("localhost:8000", True),
        (f"{socket.gethostname()}:8000", True),
        ("192.0.2.7:8000", False),
        ("triton.example:8000", False),
    ],
)
def test_shared_memory_is_for_addresses_of_this_host(address: str, wanted: bool) -> None:
    assert is_here(address) is wanted
