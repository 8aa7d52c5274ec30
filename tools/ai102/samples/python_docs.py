"""Sentences of the documentation that ships with Python itself: real text on every machine, nothing to download."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

# Prose with the names it speaks of, but no line of code: no operator, no bracket but the round one.
_PROSE = re.compile(r"[A-Z][A-Za-z0-9 ,;:'\"`()./_-]+[.?!]")
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")
_LENGTHS = range(30, 301)  # characters
_MIN_WORDS = 6


def sentences(count: int) -> tuple[bytes, ...]:
    """`count` sentences, each once, from the topics that `help()` explains.

    Those with the smallest sha256 are taken, in its order: another release of Python, which rewords some of
    them, changes some of the chosen. Python 3.11 has 1,280; fewer than `count` come where they were stripped.
    """
    from pydoc_data.topics import topics

    sentences = {sentence for text in topics.values() for sentence in _sentences_of(text)}
    return tuple(sorted(sentences, key=lambda sentence: hashlib.sha256(sentence).digest())[:count])


def _sentences_of(text: str) -> Iterator[bytes]:
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
            if len(sentence) in _LENGTHS and len(sentence.split()) >= _MIN_WORDS and _PROSE.fullmatch(sentence):
                yield sentence.encode()
