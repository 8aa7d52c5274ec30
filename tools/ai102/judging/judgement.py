"""A judgement: rounds of requests, a look after each, and the decision as early as the evidence allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from ai102.client import Tls
from ai102.judging.asking import Asker, Server
from ai102.judging.checks import findings_of
from ai102.judging.error_rates import SHARES, WRONG_PROMOTIONS, WRONG_STOPS
from ai102.judging.finding import Finding
from ai102.judging.memory import ReadMemory
from ai102.judging.record import Record
from ai102.judging.replay import Replay, crowd_size
from ai102.judging.subject import Subject

Verdict = Literal["promote", "stop", "undecided"]
# So many calls to each pipeline before a judgement ends without having asked about all samples.
ENOUGH_CALLS = 1000


@dataclass
class Judgement:
    """What is known so far; `verdict` is undecided until it ends, and afterwards where the evidence is not enough."""

    canary: str
    primary: str  # empty: none
    share: float
    verdict: Verdict = "undecided"
    reason: str = "nothing has been asked yet"
    is_over: bool = False
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    calls: int = 0
    records: list[Record] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def as_dict(self, live: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """All of it, for programs; `live` is what ai102.judging.live.trial knows of the same release."""
        live_stop = live["stop"] if live else None
        return {
            "verdict": "stop" if live_stop else self.verdict,
            "reason": f"on live traffic: {live_stop}" if live_stop else self.reason,
            "live": live,
            "is_over": self.is_over,
            "canary": self.canary,
            "primary": self.primary or None,
            "share_of_traffic": self.share,
            "requests_at_once": crowd_size(self.share),
            "began": self.began.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 1),
            "calls_to_the_canary": self.calls,
            "error_rates": {
                "a good release is stopped at most": WRONG_STOPS,
                "a release that drops by the excluded points is promoted at most": WRONG_PROMOTIONS,
                "shares of wrong stops": SHARES,
            },
            "networks": [
                {
                    "name": record.subject.name,
                    "test_samples": record.subject.set_size,
                    "test_samples_sha256": record.subject.samples_sha256,
                    "asked": record.asked,
                    "pipelines": [target.model for target in record.subject.targets],
                    "notes": record.notes,
                }
                for record in self.records
            ],
            "findings": [finding.as_dict() for finding in self.findings],
        }


Look = Callable[[Judgement], None]


def judge_between(
    judgement: Judgement,
    subjects: Sequence[Subject],
    headers: Mapping[str, str],
    tls: Tls | None,
    read_memory: ReadMemory | None = None,
    look: Look = lambda judgement: None,
    replicas: Callable[[], int] = lambda: 1,
) -> Judgement:
    """As `judge`, between the servers that the judgement names; `headers` go with every call."""
    with ExitStack() as stack:
        servers = []
        for url in filter(None, (judgement.canary, judgement.primary)):
            servers.append(Server(url, headers, tls))
            stack.callback(servers[-1].close)
        return judge(
            judgement, subjects, servers[0], servers[1] if judgement.primary else None, read_memory, look, replicas
        )


def judge(
    judgement: Judgement,
    subjects: Sequence[Subject],
    canary: Server,
    primary: Server | None,
    read_memory: ReadMemory | None = None,
    look: Look = lambda judgement: None,
    replicas: Callable[[], int] = lambda: 1,
) -> Judgement:
    """Replay every subject until the first evidence of harm, or to the end, and fill the judgement.

    `look` is called after each round; `replicas` gives how many processes share the calls to the canary. Raises
    UserError where a server cannot be asked.
    """
    began, asker = time.monotonic(), Asker(canary, primary)
    part = 1 / len(subjects)
    before: list[Finding] = []
    for subject in subjects:
        replay = Replay(subject, asker, judgement.share, read_memory, replicas)
        judgement.records.append(replay.record)
        findings: list[Finding] = []
        for _ in replay.rounds():
            findings = findings_of(replay.record, part)
            judgement.findings = before + findings
            judgement.seconds, judgement.calls = time.monotonic() - began, asker.calls
            stops = [finding for finding in findings if finding.state == "stop"]
            judgement.reason = f"{subject.name}: {replay.record.asked} of {len(subject.items)} samples asked"
            if stops:
                judgement.verdict, judgement.reason = "stop", f"{subject.name}: {stops[0].check}: {stops[0].sentence}"
                judgement.is_over = True
            look(judgement)
            if stops:
                return judgement
            replay.has_enough = _has_enough(replay.record, findings)
        before += findings
    _end(judgement)
    look(judgement)
    return judgement


def _has_enough(record: Record, findings: Sequence[Finding]) -> bool:
    pipelines = {pair.call.target.model for pair in record.pairs}
    return len(record.pairs) >= ENOUGH_CALLS * len(pipelines) and any(
        one.check == "answers" and one.state == "pass" for one in findings
    )


def _end(judgement: Judgement) -> None:
    """The decision after the last round without a stop."""
    judgement.is_over = True
    deciding = [finding for finding in judgement.findings if finding.check == "answers"]
    open_ones = [finding for finding in deciding if finding.state != "pass"]
    if open_ones:
        judgement.verdict, judgement.reason = "undecided", f"{open_ones[0].subject}: {open_ones[0].sentence}"
    else:
        judgement.verdict = "promote"
        judgement.reason = "; ".join(f"{finding.subject}: {finding.sentence}" for finding in deciding)
