"""What the issuer allows and for how long, with the defaults a site should keep."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class HashCost:
    """Argon2id's parameters; the defaults are RFC 9106's second choice, for where 2 GiB a login is too much."""

    passes: int = 3
    memory_kib: int = 64 << 10
    lanes: int = 4


@dataclass(frozen=True)
class Lockout:
    """After `free` failures each further one locks the user out twice as long, from `first_s` to `longest_s`."""

    free: int
    first_s: float = 2.0
    longest_s: float = 900.0
    forget_s: float = 24 * 3600.0  # after the last failure


@dataclass(frozen=True)
class Settings:
    """Lifetimes in seconds, sizes in bytes."""

    token_lifetime_s: int = 2 * 3600
    refresh_lifetime_s: int = 7 * 24 * 3600
    session_lifetime_s: int = 30 * 24 * 3600  # however often it is refreshed
    clock_skew_s: int = 60  # how far a verifier's clock may be from ours
    publish_ahead_s: int = 10  # a new key is in the JWKS so long before it signs
    key_bits: int = 2048
    key_days: int = 90  # a key that signs for longer is due to be rotated: nothing ends, an alert says so
    hash_cost: HashCost = HashCost()
    hashes_waiting: int = 64  # logins beyond these are refused at once
    tokens_per_minute: int = 300  # of one user: each login can add one revocation, which every proxy keeps for 2 h
    feed_rows: int = 5000  # of one answer of /auth/revoked
    lockout_of_user: Lockout = Lockout(free=10)
    lockout_of_address: Lockout = Lockout(free=50)  # many people may share one
    max_body_bytes: int = 16 << 10
    body_timeout_s: float = 10.0
    # Peers whose X-Forwarded-For is believed; none: nobody's.
    proxies: tuple[Network, ...] = field(default=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
