"""The policy as the issuer reads it: what goes wrong for a moment is tried again."""

from __future__ import annotations

import resource
import time
from pathlib import Path

from ai102.issuer.rights import Rights


def test_a_policy_that_cannot_be_read_for_a_moment_is_taken_later(policy_file: Path) -> None:
    log: list[str] = []
    rights = Rights(policy_file, log.append)
    policy_file.write_text(policy_file.read_text().replace("classify_image", "other_model"))

    def model() -> str:
        return rights.gateway.grants[1].models[0]

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))  # each open() fails: EMFILE
    try:
        seen = [model() for _ in range(3)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    ends = time.monotonic() + 10
    while model() != "other_model":
        assert time.monotonic() < ends, "the new policy was never taken"
        time.sleep(0.01)
    assert seen == ["classify_image"] * 3
    assert [line.partition(":")[0] for line in log] == ["the former policy stays in force"]
