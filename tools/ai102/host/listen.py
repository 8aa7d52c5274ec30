"""Listen on a TCP address of this machine, or say in one line why that cannot be."""

from __future__ import annotations

import errno
import socket

from ai102.errors import UserError


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of HOST:PORT; an IPv6 address without its brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def tcp_listener(address: str, *, backlog: int, named: str) -> socket.socket:
    """A socket that listens on HOST:PORT (port 0: any free one), for a server of asyncio.

    `named` is where the address was written, such as "--listen". UserError says what is wrong with it.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UserError(f'{named}: "{address}" is no address: write HOST:PORT, for example 127.0.0.1:8090')
    try:
        return listener_at(host.strip("[]"), int(port), backlog)
    except OSError as err:
        advice = (
            "stop what listens there, or choose another (port 0: any free one)"
            if is_taken(err)
            else "give an address of this machine"
        )
        raise UserError(f"{named}: cannot listen on {address} ({err.strerror or err}): {advice}") from err


def check_free(address: str, named: str) -> None:
    """UserError when nothing could listen on `address` now: a proxy would share it with another without a word."""
    tcp_listener(address, backlog=1, named=named).close()


def listener_at(host: str, port: int, backlog: int) -> socket.socket:
    """A socket that listens; `host` is a name or a number without brackets. OSError when that cannot be."""
    family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    # Named as TCP: asyncio turns Nagle's algorithm off for no other, and each answer would wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(backlog)  # SO_REUSEADDR lets two bind: only this shows that another listens there
    except OSError:
        listener.close()
        raise
    return listener


def is_taken(err: OSError) -> bool:
    """Whether another program, or the system, keeps the port."""
    return err.errno in (errno.EADDRINUSE, errno.EACCES)


def url_of(listener: socket.socket) -> str:
    """Where the socket listens, for people."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
