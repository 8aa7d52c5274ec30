"""gateway.toml as the issuer sees it: whose name tokens carry, which roles there are, what they grant."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai102.errors import UserError
from ai102.gateway import policy
from ai102.gateway.policy import Gateway, Issuer

# A policy that could not be read may be readable the next time, without any change of the file.
TRY_AGAIN_S = 1.0


@dataclass(frozen=True)
class _Problem:
    """Why the file could not be taken, in which state it was then, and when; an empty sentence: there is none."""

    sentence: str = ""
    file_state: tuple[int, ...] | None = None
    at_s: float = 0.0

    def is_settled(self, file_state: tuple[int, ...] | None) -> bool:
        """Whether the same file was tried a moment ago."""
        is_same = bool(self.sentence) and file_state == self.file_state
        return is_same and time.monotonic() - self.at_s < TRY_AGAIN_S


class Rights:
    """The policy file, read again when it changed; a broken change is reported and the former policy stays in force."""

    def __init__(self, file: Path, log: Callable[[str], None]) -> None:
        self.file = file
        self._log = log
        self._lock = threading.Lock()
        self._loaded = self._state_of_file()
        self._problem = _Problem()
        self._gateway = policy.load(file)
        self._ours = _ours(self._gateway, file)

    @property
    def gateway(self) -> Gateway:
        self._refresh()
        return self._gateway

    @property
    def ours(self) -> Issuer:
        """The entry of this issuer: the one with an address for revocations."""
        self._refresh()
        return self._ours

    def known(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        """Those that the policy still has."""
        return tuple(role for role in roles if role in self.gateway.roles)

    def narrowed(self, roles: tuple[str, ...], scope: str) -> tuple[str, ...] | None:
        """The roles that `scope` names (all when it is empty); None when it names one outside of them."""
        if not scope.split():
            return self.known(roles)
        roles_asked = tuple(dict.fromkeys(scope.split()))
        return roles_asked if set(roles_asked) <= self.gateway.roles_within(roles) else None

    def left_of(self, roles: tuple[str, ...], scope: str) -> tuple[str, ...]:
        """Of the roles a session was narrowed to, those that the user still has; all when it was not."""
        if not scope.split():
            return self.known(roles)
        return tuple(role for role in scope.split() if role in self.gateway.roles_within(roles))

    def grants(self, roles: tuple[str, ...], attributes: Mapping[str, str]) -> list[dict[str, Any]]:
        from ai102.gateway import grants  # brings pycasbin along

        return list(grants.grants_for(self.gateway, roles, attributes))

    def asked_of(self, attributes: Mapping[str, str]) -> dict[str, str]:
        """Of a user's attributes those that a grant looks at: a token carries no other."""
        asked = {name for grant in self.gateway.grants for name in grant.user}
        return {name: value for name, value in attributes.items() if name in asked}

    def check_roles(self, roles: list[str]) -> None:
        """UserError for a role that the policy does not have."""
        for role in roles:
            if role not in self.gateway.roles:
                known = ", ".join(self.gateway.roles)
                raise UserError(f'"{role}" is no role of {self.file.name}; the roles are {known}')

    def _refresh(self) -> None:
        with self._lock:
            state = self._state_of_file()
            if state == self._loaded or self._problem.is_settled(state):
                return
            try:
                gateway = policy.load(self.file)
                self._ours, self._gateway = _ours(gateway, self.file), gateway
            except (UserError, OSError) as err:
                if str(err) != self._problem.sentence:
                    self._log(f"the former policy stays in force: {err}")
                self._problem = _Problem(str(err), state, time.monotonic())
            else:
                # Only now: a file that could not be read is looked at again.
                self._loaded, self._problem = state, _Problem()

    def _state_of_file(self) -> tuple[int, ...] | None:
        try:
            facts = self.file.stat()
        except FileNotFoundError:
            return None
        return (facts.st_ino, facts.st_mtime_ns, facts.st_size)


def _ours(gateway: Gateway, file: Path) -> Issuer:
    if ours := next((issuer for issuer in gateway.issuers if issuer.revoked), None):
        return ours
    raise UserError(
        f"{file.name}: none of its [[issuers]] has `revoked`, so none is this issuer; "
        'write for example revoked = "http://127.0.0.1:8091/auth/revoked"'
    )
