"""What stands in the place of what was masked: [phone], [phone#HASH], [phone~KEYID~SEALED], [phone*1234].

Hashes and sealed values are written in letters only, so that no rule finds anything in a mark: masking masked text
changes nothing, and a mark somebody forged shelters no number.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ai102.masking.folding import Folded

HASH_BYTES = 10  # 80 bits: 16 letters
TO_LETTERS = str.maketrans("234567", "abcdef")  # base32 without its digits
FROM_LETTERS = str.maketrans("abcdef", "234567")
SEALED = re.compile(r"\[([a-z]+)~([a-z][a-z0-9]{0,15})~([A-Za-f]+)\]")


def replaced(kind: str, value: str) -> str:
    return f"[{kind}]"


def kept(kind: str, value: str) -> str:
    """The last 4 characters of a number stay."""
    return f"[{kind}*{canonical(kind, value)[-4:].upper()}]"


def hashed(salt: bytes) -> Callable[[str, str], str]:
    """HMAC-SHA256 over kind and canonical value, 80 bits of it: a join key for who has the same salt."""

    def mark(kind: str, value: str) -> str:
        message = f"{kind}\0{canonical(kind, value)}".encode(errors="surrogatepass")
        return f"[{kind}#{_letters(hmac.digest(salt, message, hashlib.sha256)[:HASH_BYTES])}]"

    return mark


def sealed(key_id: str, key: bytes) -> Callable[[str, str], str]:
    """AES-256-SIV (RFC 5297): the same value gives the same mark; kind and key id are authenticated with it."""
    cipher = AESSIV(key)

    def mark(kind: str, value: str) -> str:
        closed = cipher.encrypt(value.encode(errors="surrogatepass"), _context(kind, key_id))
        return f"[{kind}~{key_id}~{_letters(closed)}]"

    return mark


def revealed(text: str, key_of: Callable[[str], bytes]) -> tuple[str, int]:
    """`text` with its sealed marks opened, and how many did not open because they were altered or forged.

    `key_of(key_id)` may raise UserError.
    """
    failed = 0

    def opened(match: re.Match[str]) -> str:
        nonlocal failed
        kind, key_id, letters = match.groups()
        try:
            closed = base64.b32decode(letters.translate(FROM_LETTERS) + "=" * (-len(letters) % 8))
            if _letters(closed) != letters:  # the last letter's unused bits
                raise ValueError(letters)
            return AESSIV(key_of(key_id)).decrypt(closed, _context(kind, key_id)).decode(errors="surrogatepass")
        except (InvalidTag, binascii.Error, ValueError):
            failed += 1
            return match[0]

    return SEALED.sub(opened, text), failed


def canonical(kind: str, value: str) -> str:
    """The value in one spelling, so that all spellings of it have one hash."""
    plain = Folded(value).text
    match kind:
        case "phone":
            return re.sub(r"[^0-9]", "", plain)[-11:]
        case "landline":
            digits = re.sub(
                r"[^0-9]", "", re.sub(r"^\(?(?:\+|00)?86(?=[ ()-]|[1-9])[ -]?", "", plain.replace("(0)", ""))
            )
            return digits if digits.startswith("0") else f"0{digits}"
        case "card" | "identity":
            return re.sub(r"[^0-9x]", "", plain)
        case "ip":
            address, _, zone = plain.partition("%")
            if ":" not in address:
                return ".".join(str(int(octet)) for octet in address.split("."))
            v6 = ipaddress.IPv6Address(address)
            return f"{v6.ipv4_mapped or v6}{'%' if zone else ''}{zone}"
        case "name":
            return re.sub(r"[ ._-]", " ", plain)
        case "email":
            return plain
        case _:
            return value


def _letters(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").translate(TO_LETTERS)


def _context(kind: str, key_id: str) -> list[bytes]:
    return [kind.encode(), key_id.encode()]
