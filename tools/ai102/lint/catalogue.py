"""Every code of the linter in one table."""

from __future__ import annotations

from ai102.lint.finding import Code, Severity
from ai102.lint.rules import RULES

CODES: dict[str, Code] = {
    code.code: code for code in sorted((code for rule in RULES for code in rule.CODES), key=lambda code: code.code)
}
SEVERITIES: dict[str, Severity] = {name: code.severity for name, code in CODES.items()}
