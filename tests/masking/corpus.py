"""corpus.jsonl: texts with what must become of them; all data in it is made up, with valid check digits.

A line with "masked" has something to mask; one without must stay as it is.
"""

import json
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("corpus.jsonl")


class Case(NamedTuple):
    text: str
    masked: str
    is_positive: bool


def cases() -> list[Case]:
    listed = [json.loads(line) for line in FILE.read_text(encoding="utf-8").split("\n") if line]
    return [Case(one["text"], one.get("masked", one["text"]), "masked" in one) for one in listed]
