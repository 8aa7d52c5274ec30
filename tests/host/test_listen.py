"""Listening on an address, and the one line that says why it cannot be."""

import socket

import pytest

from ai102.errors import UserError
from ai102.host.listen import check_free, tcp_listener, url_of


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere", '--listen: "nowhere" is no address: write HOST:PORT'),
        (":80", 'is no address'),
        ("127.0.0.1:99999", 'is no address'),
        ("192.0.2.1:80", r"--listen: cannot listen on 192.0.2.1:80 \(Cannot assign requested address\): give"),
        ("no.such.host.example:80", "give an address of this machine"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_had_is_one_line(address: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        tcp_listener(address, backlog=1, named="--listen")
    assert "\n" not in str(caught.value)


def test_an_address_that_is_taken_is_not_free_and_one_that_was_checked_still_is() -> None:
    with tcp_listener("127.0.0.1:0", backlog=1, named="--listen") as listener:
        address = url_of(listener).removeprefix("http://")
        with pytest.raises(UserError, match=r"Address already in use.: stop what listens there"):
            check_free(address, "gateway.toml: listen.rest")
    check_free(address, "gateway.toml: listen.rest")
    tcp_listener(address, backlog=1, named="--listen").close()


@pytest.mark.parametrize("address", ["localhost:0", "127.0.0.1:0"])
def test_names_and_numbers_are_addresses_and_asyncio_takes_them_for_tcp(address: str) -> None:
    with tcp_listener(address, backlog=1, named="--listen") as listener:
        assert listener.proto == socket.IPPROTO_TCP
