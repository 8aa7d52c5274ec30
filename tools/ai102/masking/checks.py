"""What a regular expression cannot say: check digits, dates, regions, prefixes, address spaces."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable
from datetime import date

# (text, start, end, options) -> the end of what is accepted, `start` for nothing; never beyond `end`.
Check = Callable[[str, int, int, tuple[str, ...]], int]

# GB/T 2260: the first two digits of a resident identity number.
REGIONS = frozenset(map(str, (
    *range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83, 91,
)))  # fmt: skip
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # ISO 7064 MOD 11-2, as GB 11643 spells it out
CHECK_CHARACTERS = "10x98765432"
# Issuer prefixes and the numbers of digits each has: UnionPay (62, 60, 81, ICBC's old 9558), Visa, Mastercard,
# American Express, JCB, Diners, Discover.
CARDS = (
    (re.compile(r"62|81|60"), range(16, 20)),
    (re.compile(r"9558"), (19,)),
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"352[89]|35[3-8]"), range(16, 20)),
    (re.compile(r"30[0-5]|3[689]"), range(14, 20)),
    (re.compile(r"64[4-9]|65"), range(16, 20)),
)
DOUBLED = {str(digit): sum(divmod(2 * digit, 10)) for digit in range(10)}  # the digits of twice the digit, added
NOT_AN_ADDRESS = re.compile(r"(?:\bv|(?:^|[\s(\"'])ver(?:\.? ?|sion[\"']?[ :=]{0,2}[\"']?)|==|~=|>=|<=)$")
WHEEL = re.compile("-[a-z]")
SPACES = tuple(
    ipaddress.IPv6Network(space)
    for space in ("2000::/3", "fc00::/7", "fe80::/9", "ff00::/8", "64:ff9b::/96", "100::/64")
)


def identity(text: str, start: int, end: int, options: tuple[str, ...] = ()) -> int:
    """GB 11643-1999: region, date of birth, check character; or the form with 15 digits, which has no check."""
    number = _digits(text[start:end])
    if number[:2] not in REGIONS:
        return start
    born = number[6:14] if len(number) == 18 else "19" + number[6:12]
    try:
        date(int(born[:4]), int(born[4:6]), int(born[6:]))
    except ValueError:
        return start
    return end if len(number) == 15 or number[17] == check_character(number[:17]) else start


def check_character(digits: str) -> str:
    """The 18th character of an identity number, from its first 17."""
    return CHECK_CHARACTERS[sum(int(digit) * weight for digit, weight in zip(digits, WEIGHTS, strict=True)) % 11]


def card(text: str, start: int, end: int, options: tuple[str, ...] = ()) -> int:
    """ISO/IEC 7812: the longest of the groups that has a known prefix, its length and its check digit."""
    while end > start:
        number = _digits(text[start:end])
        known = any(prefix.match(number) and len(number) in lengths for prefix, lengths in CARDS)
        if known and luhn(number):
            return end
        end = max(text.rfind(" ", start, end), text.rfind("-", start, end))
    return start


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of those before it."""
    return (sum(map(DOUBLED.__getitem__, digits[-2::-2])) + sum(map(int, digits[::-2]))) % 10 == 0


def ipv4(text: str, start: int, end: int, options: tuple[str, ...] = ()) -> int:
    """Four numbers below 256 that are not called a version and not in a network that is spared."""
    octets = [int(octet) for octet in text[start:end].split(".")]
    if max(octets) > 255:
        return start
    if NOT_AN_ADDRESS.search(text, max(0, start - 16), start):
        return start
    if text[start - 1 : start] == "-" and WHEEL.match(text, end) and text[start - 2 : start - 1].isalpha():
        return start  # the version in the name of a file: tensorrt_rtx-1.7.1.116-cp311
    return start if _is_spared(4, int.from_bytes(octets), options) else end


def ipv6(text: str, start: int, end: int, options: tuple[str, ...] = ()) -> int:
    """An address of a space that is in use (RFC 4291, 4193, 6052, 6666), not in a network that is spared."""
    try:
        address = ipaddress.IPv6Address(text[start:end].partition("%")[0])
    except ValueError:
        return start
    if all(len(group) == 2 for group in text[start:end].split(":")):
        return start  # eight pairs of hex digits: an EUI-64 or a dump
    is_in_use = any(address in space for space in SPACES) or address.ipv4_mapped is not None
    # ::1 and ::192.0.2.1, but not the slice [::2]
    is_in_use = is_in_use or int(address) == 1 or (int(address) >> 32 == 0 and "." in text[start:end])
    plain = address.ipv4_mapped or address
    return end if is_in_use and not _is_spared(plain.version, int(plain), options) else start


def opaque(text: str, start: int, end: int, options: tuple[str, ...] = ()) -> int:
    """A word that no language has: it holds a digit or a sign, or is long."""
    return end if end - start >= 20 or not text[start:end].isalpha() else start


def _is_spared(version: int, address: int, networks: tuple[str, ...]) -> bool:
    return any(version == other and address & mask == base for other, base, mask in _networks(networks))


@functools.cache
def _networks(networks: tuple[str, ...]) -> list[tuple[int, int, int]]:
    """(IP version, address, mask) of each."""
    parsed = [ipaddress.ip_network(network) for network in networks]
    return [(one.version, int(one.network_address), int(one.netmask)) for one in parsed]


def _digits(number: str) -> str:
    return number.replace(" ", "").replace("-", "")
