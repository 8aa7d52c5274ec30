"""What the tests of logs share: a masker that replaces everything, a follower of a folder, what the spool holds."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ai102.logs.follow.follower import Follower
from ai102.logs.follow.spool import Spool, segments
from ai102.masking import Masker

RULES = Path(__file__).parent.parent / "masking" / "rules.toml"


@pytest.fixture(scope="session")
def masker() -> Masker:
    return Masker.of(RULES)


def documents(spool: Path) -> list[dict[str, Any]]:
    """All that the spool holds, in its order."""
    contents = (path.read_text(encoding="utf-8") for _, path in segments(spool))
    return [json.loads(line) for content in contents for line in content.split("\n")[:-1]]  # the last is not whole


def messages(spool: Path) -> list[str]:
    return [document.get("message", "") for document in documents(spool)]


class Following:
    """A follower of `pattern`, and its end; `read` until nothing is new."""

    def __init__(self, patterns: list[str], spool: Spool, masker: Masker) -> None:
        self.spool = spool
        self.said: list[str] = []
        self.follower = Follower(patterns, spool, masker, self.said.append)

    def read(self) -> list[str]:
        """Everything that is there now; all messages that are in the spool then."""
        self.follower._next_look_s = 0.0
        while self.follower.turn():
            pass
        return messages(self.spool.folder)

    def leave_alone(self) -> None:
        """Let the time pass after which a file that was renamed or deleted is given up."""
        for source in self.follower._sources.values():
            source.grew_at_s -= 3600


Follow = Callable[..., Following]


@pytest.fixture
def follow(tmp_path: Path, masker: Masker) -> Iterator[Follow]:
    """Start following; what was started before ends, as if killed unless `close` is given."""
    running: list[Following] = []

    def kill() -> None:
        while running:
            running.pop().spool.__exit__(None, None, None)

    def start(*patterns: str, most_bytes: int = 1 << 30, segment_bytes: int = 8 << 20) -> Following:
        kill()
        spool = Spool(tmp_path / "spool", most_bytes, segment_bytes)
        running.append(Following(list(patterns or (str(tmp_path / "*.log"),)), spool, masker))
        return running[-1]

    yield start
    kill()
