"""Lock-out on guessing: per user name and per address, doubling, kept in the database.

An attempt counts as failed before the password is looked at, so that a hundred guesses at once are a hundred
failures; a right password takes it back.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from ai102.issuer.database import Change
from ai102.issuer.settings import Lockout


@dataclass(frozen=True)
class Counter:
    """What is counted, under which rule. The key is a keyed hash: what people type as a name may be a password."""

    key: str
    rule: Lockout


@dataclass(frozen=True)
class Attempt:
    """An attempt that may go on; `locks` is when each counter opens again should it fail (0: it stays open)."""

    locks: tuple[tuple[Counter, float], ...]


@dataclass(frozen=True)
class Locked:
    """An attempt that is refused; `is_news` the first time since the lock."""

    retry_after_s: int
    is_news: bool


def user_counter(salt: bytes, name: str, rule: Lockout) -> Counter:
    return Counter("user:" + hmac.new(salt, name.encode(), hashlib.sha256).hexdigest(), rule)


def address_counter(address: str, rule: Lockout) -> Counter:
    """One IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return Counter("address:unknown", rule)
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return Counter(f"address:{parsed.ipv4_mapped}", rule)
        return Counter(f"address:{ip_network((int(parsed), 64), strict=False)}", rule)
    return Counter(f"address:{parsed}", rule)


def begin(change: Change, counters: list[Counter]) -> Attempt | Locked:
    """Count an attempt against every counter, unless one is locked: then nothing is counted."""
    now = change.now_s
    rows = {}
    for counter in counters:
        row = change.execute(
            "SELECT count, locked_until_s, last_s, is_told FROM failures WHERE key = ?", [counter.key]
        ).fetchone()
        # A clock that was set back must not lock anybody out for longer than the rule says.
        if row and now < row[1] <= now + counter.rule.longest_s:
            change.execute("UPDATE failures SET is_told = 1 WHERE key = ?", [counter.key])
            return Locked(math.ceil(row[1] - now), not row[3])
        rows[counter.key] = row
    change.execute("DELETE FROM failures WHERE last_s < ?", [now - max(one.rule.forget_s for one in counters)])
    locks = []
    for counter in counters:
        rule, row = counter.rule, rows[counter.key]
        count = (row[0] if row and row[2] >= now - rule.forget_s else 0) + 1
        excess = min(count - rule.free - 1, 64)
        until = now + min(rule.first_s * 2.0**excess, rule.longest_s) if excess >= 0 else 0.0
        change.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, 0)", [counter.key, count, until, now])
        locks.append((counter, until))
    return Attempt(tuple(locks))


def forgive(change: Change, attempt: Attempt, *, user: Counter) -> None:
    """The password was right: the user's failures are forgotten, and this attempt where others are counted too.

    An address keeps its other failures, or whoever has one account could go on guessing at the rest.
    """
    unlock(change, user)
    for counter, until in attempt.locks:
        if counter != user:
            change.execute("UPDATE failures SET count = max(count - 1, 0) WHERE key = ?", [counter.key])
            change.execute(
                "UPDATE failures SET locked_until_s = 0 WHERE key = ? AND locked_until_s = ?", [counter.key, until]
            )


def unlock(change: Change, user: Counter) -> None:
    """Forget the failures of one user name."""
    change.execute("DELETE FROM failures WHERE key = ?", [user.key])
