"""The rule modules, in the order they are asked: each has CODES and check(model, repository)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Protocol, cast

from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model, Repository


class Rule(Protocol):
    CODES: tuple[Code, ...]

    @staticmethod
    def check(model: Model, repository: Repository) -> Iterator[Finding]: ...


NAMES = (
    "syntax",
    "files",
    "tensors",
    "completion",
    "model_file",
    "openvino",
    "schedulers",
    "ensembles",
    "warmup",
    "instances",
    "misc",
    "libraries",
    "performance",
)
RULES: tuple[Rule, ...] = tuple(cast(Rule, import_module(f"{__name__}.{name}")) for name in NAMES)
# What the server checks before the code of a Python model completes the config.
FIRST_LOOK = ("MR4", "MR211")
# What depends on parts of a config that its code may complete.
MAY_BE_COMPLETED = (
    "MR202", "MR203", "MR207", "MR208", "MR210", "MR212", "MR604", "MR605", "MR607", "MR803",
    "MR901", "MR902", "MR903", "MR904", "MR905",
)  # fmt: skip


def findings(model: Model, repository: Repository) -> Iterator[Finding]:
    """The findings of all rules in a model, without those that its code may make untrue."""
    for rule in RULES:
        for finding in rule.check(model, repository):
            is_clear = model.is_decided or finding.code not in MAY_BE_COMPLETED
            if finding.code.startswith(FIRST_LOOK) if model.is_first_look else is_clear:
                yield finding
