"""Sentences of the documentation that ships with Python: real text on every machine, without a download."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

# Prose that may mention names, but no code: no operators, and no brackets other than round ones.
_PROSE = re.compile(r"[A-Z][A-Za-z0-9 ,;:'\"`()./_-]+[.?!]")
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")
_LENGTHS = range(30, 301)  # characters
_MIN_WORDS = 6


def sentences(count: int) -> tuple[bytes, ...]:
    """`count` different sentences from the topics that `help()` explains.

    They are those with the smallest sha256, in that order: another release of Python changes some sentences, and
    only those. Python 3.11 has 1,280; fewer than `count` are returned if the documentation was removed.
    """
    from pydoc_data.topics import topics

    sentences = {sentence for text in topics.values() for sentence in _sentences_of(text)}
    return tuple(sorted(sentences, key=lambda sentence: hashlib.sha256(sentence).digest())[:count])


def _sentences_of(text: str) -> Iterator[bytes]:
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
            if len(sentence) in _LENGTHS and len(sentence.split()) >= _MIN_WORDS and _PROSE.fullmatch(sentence):
                yield sentence.encode()
