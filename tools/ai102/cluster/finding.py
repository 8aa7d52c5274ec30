"""What a rule found, and findings of the same cause as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ai102.cluster.facts import Facts, Pod, Workload

Level = Literal["wrong", "note"]
NAMES_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """`why` is one sentence, `mend` the next step; `workloads` are those whose missing pods it explains."""

    rule: str
    level: Level
    about: str
    why: str
    mend: str
    pods: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        if not self.pods:
            return self.about
        return f"{self.about} ({shortened(self.pods)})"


def of_pod(rule: str, pod: Pod, why: str, mend: str, level: Level = "wrong") -> Finding:
    """A pod without a workload stands for itself."""
    if not pod.workload:
        return Finding(rule, level, pod.name, why, mend)
    return Finding(rule, level, pod.workload, why, mend, (pod.name,), (pod.workload,))


def of_workload(rule: str, workload: Workload, why: str, mend: str, level: Level = "wrong") -> Finding:
    return Finding(rule, level, workload.name, why, mend, (), (workload.name,))


def grouped(findings: Iterable[Finding]) -> list[Finding]:
    """One for all pods of a workload of which the same is said, in the order of the first."""
    groups: dict[tuple[str, str, str, str, str], list[Finding]] = {}
    for each in findings:
        groups.setdefault((each.rule, each.level, each.about, each.why, each.mend), []).append(each)
    return [_one(group) for group in groups.values()]


def shortened(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return f"{', '.join(names[:NAMES_SHOWN])}{f' and {more} more' if more > 0 else ''}"


def command(facts: Facts, words: str) -> str:
    """A command of kubectl in the namespace that was looked at."""
    return f"`kubectl {words} --namespace {facts.namespace}`"


def line(text: str, most: int = 160) -> str:
    """A message of others in one line of at most so many characters: its beginning, and its end with the cause."""
    words = " ".join(text.split())
    if len(words) <= most:
        return words
    end = most // 3
    return f"{words[: most - end - 5]} ... {words[-end:]}"


def _one(group: Sequence[Finding]) -> Finding:
    first = group[0]
    pods = tuple(dict.fromkeys(pod for each in group for pod in each.pods))
    workloads = tuple(dict.fromkeys(name for each in group for name in each.workloads))
    return Finding(first.rule, first.level, first.about, first.why, first.mend, pods, workloads)
