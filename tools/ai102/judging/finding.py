"""What a check says of the record so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

# stop: evidence of harm. pass: harm of the size that the check looks for is excluded. open: neither yet.
# quiet: no evidence of harm, which is all that the check can say. note: it could not look, and why.
State = Literal["stop", "pass", "open", "quiet", "note"]


@dataclass(frozen=True)
class Finding:
    """The state of one check of one network, a sentence, and its numbers."""

    check: str
    subject: str
    state: State
    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
