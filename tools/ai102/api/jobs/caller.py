"""Who hands in jobs, and which models they may ask, as the gateway says."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from ai102.api.problems import Problem

# Set by the gateway from the caller's token, and taken from every request that brings them itself.
USER, ISSUER, MAY_INFER = "x-user", "x-user-issuer", "x-user-may-infer"
# MODEL or MODEL=BYTES, where * in MODEL stands for any run of characters.
_GRANT = re.compile(r"([A-Za-z0-9_.*-]{1,128})(?:=([0-9]{1,15}))?")


class Grant(NamedTuple):
    models: str
    max_bytes: int | None  # of the input


class Caller(NamedTuple):
    """`name` is that of one of our own issuer's users, which has no blank, or "ISSUER NAME" of another issuer's.

    It is empty without a gateway: whoever reaches the API itself may ask any model.
    """

    name: str
    grants: tuple[Grant, ...] | None

    def largest(self, model: str) -> float:
        """Bytes of the largest input for the model. Raises Problem when the caller may not ask it."""
        if self.grants is None:
            return math.inf
        fitting = [grant for grant in self.grants if fnmatchcase(model, grant.models)]
        if not fitting:
            raise Problem("forbidden", "You may not ask this model.")
        return max(math.inf if grant.max_bytes is None else grant.max_bytes for grant in fitting)


def caller_of(headers: Mapping[str, str]) -> Caller:
    if USER not in headers:
        return Caller("", None)
    name = f"{headers[ISSUER]} {headers[USER]}" if headers.get(ISSUER) else headers[USER]
    return Caller(name, _grants(headers.get(MAY_INFER, "")))


@lru_cache(maxsize=256)
def _grants(text: str) -> tuple[Grant, ...]:
    words = [_GRANT.fullmatch(word) for word in text.split(",")]
    return tuple(Grant(word[1], int(word[2]) if word[2] else None) for word in words if word)
