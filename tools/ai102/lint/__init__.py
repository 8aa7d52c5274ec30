"""Checks any Triton model repository without starting a server."""

from __future__ import annotations

from pathlib import Path

from ai102.lint.finding import Code, Finding, Fix, Severity

__all__ = ["Code", "Finding", "Fix", "Severity", "lint"]


def lint(root: Path, *, triton: str = "2.51", check_files: bool = True, model: str | None = None) -> list[Finding]:
    """Every finding in the repository at `root`, by path and line; with `model`, those of that one alone.

    `check_files=False` leaves out what depends on files that are built later, such as model.onnx.
    """
    # Late, since `Finding` is asked for by those that need no rule.
    from ai102.lint.catalogue import SEVERITIES
    from ai102.lint.completed import complete
    from ai102.lint.model import repository_from_folder
    from ai102.lint.rules import findings

    repository, variants = complete(repository_from_folder(root, triton, SEVERITIES, check_files=check_files))
    names = repository.models if model is None else [model]
    return sorted({finding for name in names for each in variants[name] for finding in findings(each, repository)})
