"""Passwords: what is taken for one, and argon2id over it."""

from __future__ import annotations

import secrets
import unicodedata
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ai102.errors import UserError
from ai102.issuer.settings import HashCost

MIN_CHARACTERS = 12
MAX_CHARACTERS = 1024
MIN_DIFFERENT = 5


class Hasher:
    """Argon2id at one cost; a hash carries its own salt and cost. Threads may share it."""

    def __init__(self, cost: HashCost) -> None:
        self._argon2 = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes)

    @cached_property
    def dummy(self) -> str:
        """Verified when there is no such user, so that the answer takes as long as a wrong password's."""
        return self._argon2.hash(secrets.token_urlsafe(32))

    def hash(self, password: str) -> str:
        return self._argon2.hash(_normal(password))

    def is_right(self, password_hash: str, password: str) -> bool:
        """Takes tens of milliseconds and as much memory as the cost says; a broken hash is never right."""
        try:
            return self._argon2.verify(password_hash, _normal(password[: MAX_CHARACTERS + 1]))
        except (VerificationError, InvalidHashError):
            return False

    def is_outdated(self, password_hash: str) -> bool:
        """Was the hash made at another cost than this one's?"""
        return self._argon2.check_needs_rehash(password_hash)


def checked(password: str, user: str) -> str:
    """The password as given; UserError when it is too easy to guess."""
    if len(password) < MIN_CHARACTERS:
        raise UserError(f"the password has {len(password)} characters; choose at least {MIN_CHARACTERS}")
    if len(password) > MAX_CHARACTERS:
        raise UserError(f"the password has {len(password)} characters; choose at most {MAX_CHARACTERS}")
    if len(set(password)) < MIN_DIFFERENT:
        raise UserError(f"the password has fewer than {MIN_DIFFERENT} different characters: choose another")
    if user.casefold() in _normal(password).casefold():
        raise UserError("the password has the user's name in it: choose another")
    return password


def _normal(password: str) -> str:
    """The same letters typed on two keyboards may differ in code points."""
    return unicodedata.normalize("NFKC", password)
