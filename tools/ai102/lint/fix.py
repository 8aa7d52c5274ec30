"""Makes the repairs that findings carry: those with one safe answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ai102 import artifact
from ai102.lint.finding import Finding, Fix

# One repair may bring another to light, as a corrected name of a field shows a wrong value in it.
MOST_ROUNDS = 10


def fix(root: Path, lint: Callable[[], list[Finding]]) -> tuple[int, list[Finding]]:
    """Repair until nothing is left that can be; returns the number of repairs and the findings that are left.

    Each file is written whole or not at all.
    """
    count = 0
    for _ in range(MOST_ROUNDS):
        findings = lint()
        repaired = 0
        for path in sorted({finding.path for finding in findings if finding.fix is not None}):
            fixes = [finding.fix for finding in findings if finding.path == path and finding.fix is not None]
            repaired += _repair(root / path, fixes)
        if not repaired:
            return count, findings
        count += repaired
    return count, lint()


def repaired_text(text: str, fixes: Iterable[Fix]) -> tuple[str, int]:
    """The text with every repair that touches no earlier one, and how many those are."""
    parts: list[str] = []
    place = count = 0
    for repair in sorted(set(fixes)):
        if repair.start < place:
            continue
        parts += [text[place : repair.start], repair.text]
        place = repair.end
        count += 1
    return "".join([*parts, text[place:]]), count


def _repair(file: Path, fixes: list[Fix]) -> int:
    raw = file.read_bytes()
    text, count = repaired_text(raw.decode("utf-8", "surrogateescape"), fixes)
    repaired = text.encode("utf-8", "surrogateescape")
    if repaired == raw:
        return 0
    with artifact.replacing(file) as temporary:
        temporary.write_bytes(repaired)
        temporary.chmod(file.stat().st_mode)
    return count
