"""What the linter and the real server say of each mutated model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ai102.agreement.mutations import Mutation, write_models
from ai102.agreement.mutations.edits import CONFIG
from ai102.agreement.verdicts import Verdict, verdicts
from ai102.lint import Finding, lint

STEP = re.compile(r"model_name:\s*[\"']([^\"'/]+)[\"']")


@dataclass(frozen=True)
class Opinion:
    """What both say of one mutated model; `errors` and `warnings` are the linter's."""

    mutation: Mutation
    verdict: Verdict
    errors: Sequence[Finding] = field(default_factory=tuple)
    warnings: Sequence[Finding] = field(default_factory=tuple)

    @property
    def is_missed(self) -> bool:
        return self.verdict.is_refused and not self.errors

    @property
    def is_false_alarm(self) -> bool:
        """An error where the server loads the model; a valid model that it cannot judge is none either."""
        is_harmless = self.verdict.outcome == "loads" or (
            self.verdict.outcome == "not judged" and self.mutation.kind == "unchanged"
        )
        return is_harmless and bool(self.errors)

    def __str__(self) -> str:
        name = self.mutation.name
        if self.is_missed:
            return f"{name}: passed by the linter, {self.verdict.outcome} by the server: {self.verdict.message}"
        errors = "; ".join(f"{one.path}:{one.line} {one.code} {one.message}" for one in self.errors)
        return f"{name}: {self.verdict.outcome}, and the linter says: {errors}"


def opinions(root: Path, mutated: Sequence[Mutation]) -> list[Opinion]:
    """Write the mutations into `root`, and ask the server and the linter about each."""
    write_models(root, mutated)
    return compare(root, mutated, verdicts(root, [mutation.name for mutation in mutated]))


def compare(root: Path, mutated: Iterable[Mutation], by_server: Mapping[str, Verdict]) -> list[Opinion]:
    by_folder: dict[str, list[Finding]] = {}
    for finding in lint(root):
        by_folder.setdefault(finding.path.partition("/")[0], []).append(finding)
    compared = []
    for mutation in mutated:
        findings = [finding for folder in needed(root, mutation.name) for finding in by_folder.get(folder, ())]
        errors = tuple(finding for finding in findings if finding.severity == "error")
        warnings = tuple(finding for finding in findings if finding.severity == "warning")
        compared.append(Opinion(mutation, by_server[mutation.name], errors, warnings))
    return compared


def needed(root: Path, name: str) -> list[str]:
    """The model, and for an ensemble those of its steps, and of theirs."""
    waiting, names = [name], list[str]()
    while waiting:
        names.append(waiting.pop())
        config = root / names[-1] / CONFIG
        text = config.read_bytes().decode(errors="replace") if config.is_file() else ""
        waiting += [step for step in STEP.findall(text) if step not in (*names, *waiting)]
    return names
