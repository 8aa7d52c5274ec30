"""Every code of the linter in one table."""

from __future__ import annotations

from ai102.lint.finding import Code, Severity
from ai102.lint.rules import RULES

CODES: dict[str, Code] = {
    code.code: code for code in sorted((code for rule in RULES for code in rule.CODES), key=lambda code: code.code)
}


def severity_of(code: str) -> Severity:
    return CODES[code].severity
