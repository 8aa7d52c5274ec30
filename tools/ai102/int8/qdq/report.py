"""What `ai102 check-qdq` says of a file."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto
from onnx.checker import ValidationError

from ai102.errors import UserError
from ai102.int8.qdq.rules import Finding, Severity, check, coverage

_NODES_SHOWN = 3


def report_lines(file: Path, *, verbose: bool = False) -> tuple[list[str], bool]:
    """The lines to print, and whether TensorRT refuses something or quietly computes it in float or wrong.

    A line for each rule that is broken, with the first of the nodes; `verbose` gives every node its own. Raises
    UserError for what is no ONNX file and for a graph with nothing quantized in it.
    """
    model = _load(file)
    findings = check(model)
    if not findings and not any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        raise UserError(f"{file}: there is no QuantizeLinear or DequantizeLinear in it: nothing is quantized to check")
    covered, total = coverage(model)
    is_broken = any(finding.rule.severity is not Severity.PLACEMENT for finding in findings)
    worst = sorted(findings, key=lambda finding: finding.rule.code)
    lines = [line for _, of_rule in groupby(worst, _code) for line in _lines_of_rule(list(of_rule), verbose)]
    lines.append(f"{file}: {covered} of {total} weighted layers are quantized so that TensorRT runs them in INT8")
    return lines, is_broken


def _code(finding: Finding) -> str:
    return finding.rule.code


def _lines_of_rule(findings: list[Finding], verbose: bool) -> list[str]:
    rule = findings[0].rule
    count = f"{len(findings)} node{'s' if len(findings) > 1 else ''}"
    head = f"{rule.code} {rule.severity}: {rule.title}: {count}"
    if verbose:
        return [f"{head}: {rule.consequence}", *(f"  {finding}" for finding in findings)]
    named = [finding.node for finding in findings[:_NODES_SHOWN]]
    shown = ", ".join(named if len(findings) <= _NODES_SHOWN else [*named, "..."])
    return [f"{head} ({shown}): {rule.consequence}; {rule.cure}"]


def _load(file: Path) -> ModelProto:
    if not file.is_file():
        raise UserError(f"{file}: there is no such file; name an ONNX file")
    try:
        model = onnx.load(file)
    except DecodeError as err:
        raise UserError(f"{file}: this is no ONNX file") from err
    except (ValidationError, ValueError) as err:
        raise UserError(f"{file}: {err}; put the file of its tensors beside it") from err
    if not model.graph.node:
        raise UserError(f"{file}: this is no ONNX file, or one with an empty graph")
    return model
