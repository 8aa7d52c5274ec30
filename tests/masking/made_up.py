"""Random numbers with and without valid check digits, by the rules of the standards."""

import random

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
PROVINCES = (11, 12, 13, 21, 31, 32, 33, 35, 37, 41, 42, 44, 50, 51, 54, 61, 65, 71, 81, 82)


def digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices("0123456789", k=count))


def identity(chance: random.Random) -> str:
    born = f"{chance.randrange(1930, 2025)}{chance.randrange(1, 13):02d}{chance.randrange(1, 29):02d}"
    body = f"{chance.choice(PROVINCES)}{digits(chance, 4)}{born}{digits(chance, 3)}"
    total = sum(int(digit) * weight for digit, weight in zip(body, WEIGHTS, strict=True))
    return body + "10X98765432"[total % 11]


def card(chance: random.Random) -> str:
    prefix, count = chance.choice(
        [("62", 16), ("62", 19), ("4", 16), ("53", 16), ("37", 15), ("3566", 16), ("6011", 16)]
    )
    body = prefix + digits(chance, count - len(prefix) - 1)
    for last in range(10):
        if has_check_digit(f"{body}{last}"):
            return f"{body}{last}"
    raise AssertionError


def has_check_digit(number: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(number)):
        worth = int(digit) * (1 + place % 2)
        total += worth - 9 if worth > 9 else worth
    return total % 10 == 0


def mobile(chance: random.Random) -> str:
    prefix = chance.choice(["", "+86", "86", "0086", "+86 ", "+86-"])
    return f"{prefix}1{chance.randrange(3, 10)}{digits(chance, 9)}"


def address(chance: random.Random) -> str:
    return f"{chance.randrange(1, 127)}.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"


def email(chance: random.Random) -> str:
    return (
        f"{''.join(chance.choices('abcdefghijklmnop._', k=6))}q@{chance.choice(['qq.com', 'a-b.co.uk', '例子.中国'])}"
    )
