"""Ports that are free, and the addresses a server is reached at."""

import errno
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping

from ai102.errors import UserError


def chosen_ports(host: str, ports: Mapping[str, int]) -> dict[str, int]:
    """Each of `ports`, or a free one for 0; UserError names the flag when one is taken."""
    sockets: list[socket.socket] = []
    chosen = {}
    try:
        for protocol, port in ports.items():
            listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
                # Only listening tells: SO_REUSEADDR lets two bind.
                listener.listen(1)
            except OSError as err:
                raise UserError(
                    f"cannot listen on {host}:{port} ({err.strerror or err}): "
                    + (
                        f"stop what listens there, or choose another with --{protocol}-port (0: any free one)"
                        if err.errno in (errno.EADDRINUSE, errno.EACCES)
                        else "give an address of this machine with --host"
                    )
                ) from err
            chosen[protocol] = listener.getsockname()[1]
    finally:
        for listener in sockets:
            listener.close()
    return chosen


def tcp_listener(address: str, backlog: int) -> socket.socket:
    """A socket that listens on HOST:PORT (port 0: any free one), for a server of asyncio.

    Raises ValueError when that is no address, OSError when it is none of ours or taken.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f'"{address}" is no HOST:PORT')
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP: asyncio turns Nagle's algorithm off for no other, and each answer would wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(backlog)  # only this tells that another listens there: SO_REUSEADDR lets two bind
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """Where the socket listens, for people."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def reachable_url(host: str, port: int) -> str:
    """host:port for a client on this machine; a server that listens everywhere is reached on the loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_answered(url: str) -> bool:
    """Whether a GET of `url` is answered 200 within two seconds."""
    try:
        # No proxy of the environment may stand between us and our own server.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
