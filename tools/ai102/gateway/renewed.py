"""Files that a running proxy read at its start, and takes again when they are renewed: certificates and the secret."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from ai102.errors import UserError
from ai102.gateway import running
from ai102.gateway.policy import Gateway
from ai102.gateway.running import ProxyName

LOOK_EVERY_S = 1.0
Say = Callable[[str], None]


class Renewed:
    """Looks at the files of a policy once a second, and lets the proxy take new content without losing a request."""

    def __init__(self, home: Path, proxy: ProxyName, say: Say) -> None:
        self._home, self._proxy, self._say = home, proxy, say
        self._taken: dict[Path, str] = {}
        self._looked_s = 0.0

    def follow(self, gateway: Gateway) -> None:
        """The proxy has just read the files of this policy."""
        self._taken = self._contents(gateway)

    def check(self, gateway: Gateway) -> None:
        """Reload where a file is another. What the proxy does not take is said once, and the old one goes on."""
        if time.monotonic() - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = time.monotonic()
        contents = self._contents(gateway)
        if contents == self._taken:
            return
        names = ", ".join(str(path) for path, content in contents.items() if content != self._taken.get(path))
        self._taken = contents
        try:
            running.reload(gateway, self._home, self._proxy)
        except UserError as err:
            self._say(f"{names} changed and is not taken: {err}")
        else:
            self._say(f"{names} changed and is taken")

    def _contents(self, gateway: Gateway) -> dict[Path, str]:
        files = [gateway.tls.certificate, gateway.triton.secret_file]
        if gateway.tls.client_ca is not None:
            files.append(gateway.tls.client_ca)
        return {self._home / file: _hash(self._home / file) for file in files}


def _hash(file: Path) -> str:
    """Empty where it cannot be read now: it is being replaced."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
