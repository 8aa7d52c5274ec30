"""Ports that are free, and the addresses a server is reached at."""

import socket
import urllib.error
import urllib.request
from collections.abc import Mapping

from ai102.errors import UserError
from ai102.host.listen import is_taken, listener_at


def chosen_ports(host: str, ports: Mapping[str, int]) -> dict[str, int]:
    """Each of `ports`, or a free one for 0; UserError names the flag when one is taken."""
    sockets: list[socket.socket] = []
    chosen = {}
    try:
        for protocol, port in ports.items():
            try:
                listener = listener_at(host, port, 1)
            except OSError as err:
                raise UserError(
                    f"cannot listen on {host}:{port} ({err.strerror or err}): "
                    + (
                        f"stop what listens there, or choose another with --{protocol}-port (0: any free one)"
                        if is_taken(err)
                        else "give an address of this machine with --host"
                    )
                ) from err
            sockets.append(listener)
            chosen[protocol] = listener.getsockname()[1]
    finally:
        for listener in sockets:
            listener.close()
    return chosen


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
