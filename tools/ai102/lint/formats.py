"""Findings as text, JSON, SARIF, annotations of GitHub Actions and code quality of GitLab."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ai102.lint.catalogue import CODES
from ai102.lint.finding import Code, Finding

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def text(findings: Sequence[Finding], prefix: str = "") -> str:
    """One line a finding, as compilers write them; `prefix` is the repository's path with a slash."""
    lines = [
        f"{prefix}{f.path}:{f.line}:{f.column}: {f.code} {f.severity}: {f.message}: {f.advice}"
        + (" [--fix does it]" if f.fix else "")
        for f in findings
    ]
    return "\n".join([*lines, summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    if not findings:
        return "no problems"
    return f"{errors} {'error' if errors == 1 else 'errors'}, {warnings} {'warning' if warnings == 1 else 'warnings'}"


def as_json(findings: Sequence[Finding], prefix: str = "") -> str:
    """A list of objects with the fields of a finding."""
    return json.dumps(
        [asdict(finding) | {"path": prefix + finding.path} for finding in findings], ensure_ascii=False, indent=1
    )


def sarif(findings: Sequence[Finding], prefix: str = "") -> str:
    """SARIF 2.1.0, which code scanning of GitHub and GitLab reads."""
    codes = sorted({finding.code for finding in findings})
    tool = {
        "name": "ai102 lint",
        "rules": [_rule(CODES[code]) for code in codes],
    }
    results = [_result(finding, prefix, codes.index(finding.code)) for finding in findings]
    run = {"tool": {"driver": tool}, "columnKind": "unicodeCodePoints", "results": results}
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, ensure_ascii=False, indent=1)


def github(findings: Sequence[Finding], prefix: str = "") -> str:
    """Workflow commands that put each finding beside its line in a pull request."""
    return "\n".join(
        f"::{f.severity} file={_property(prefix + f.path)},line={f.line},col={f.column},"
        f"title={_property(f.code + ' ' + CODES[f.code].title)}::{_data(f'{f.message}: {f.advice}')}"
        for f in findings
    )


def gitlab(findings: Sequence[Finding], prefix: str = "") -> str:
    """GitLab's code quality report, which merge requests show (docs.gitlab.com, Code Quality, report format).

    A fingerprint leaves the line out, so that a finding that only moved is not shown as a new one.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    rows = []
    for f in findings:
        identity = (prefix + f.path, f.code, f.message)
        seen[identity] += 1
        text = "\0".join((*identity, str(seen[identity])))
        rows.append(
            {
                "description": f"{f.code}: {f.message}: {f.advice}",
                "check_name": f.code,
                "fingerprint": hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(),
                "severity": "critical" if f.severity == "error" else "minor",
                "location": {"path": prefix + f.path, "lines": {"begin": f.line}},
            }
        )
    return json.dumps(rows, ensure_ascii=False, indent=1)


FORMATS: Mapping[str, Callable[[Sequence[Finding], str], str]] = {
    "text": text,
    "json": as_json,
    "sarif": sarif,
    "github": github,
    "gitlab": gitlab,
}


def _rule(code: Code) -> dict[str, Any]:
    return {
        "id": code.code,
        "shortDescription": {"text": code.title},
        "fullDescription": {"text": code.why},
        "defaultConfiguration": {"level": code.severity},
    }


def _result(finding: Finding, prefix: str, rule: int) -> dict[str, Any]:
    region = {"startLine": finding.line, "startColumn": finding.column}
    place = {"artifactLocation": {"uri": prefix + finding.path}, "region": region}
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.severity,
        "message": {"text": f"{finding.message}: {finding.advice}"},
        "locations": [{"physicalLocation": place}],
    }


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
