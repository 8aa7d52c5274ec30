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
    "model_file",
    "schedulers",
    "ensembles",
    "warmup",
    "instances",
    "misc",
    "libraries",
    "performance",
)
RULES: tuple[Rule, ...] = tuple(cast(Rule, import_module(f"{__name__}.{name}")) for name in NAMES)
