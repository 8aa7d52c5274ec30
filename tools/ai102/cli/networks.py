"""Subcommands of the build steps: export, calibrate, quantize, report, check-qdq, configure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ai102.cli.engine import CONTRACT, ContractFile, Networks
from ai102.errors import UserError


def export(networks: Networks = None, contract: ContractFile = CONTRACT) -> None:
    """Export weights to FP32 ONNX and compare it with PyTorch."""
    from ai102.build import verbs

    _each(verbs.export, networks, contract)


def calibrate(
    networks: Networks = None,
    method: Annotated[
        Literal["minmax", "percentile", "entropy"] | None, typer.Option(help="Overrides the recipe's method.")
    ] = None,
    percentile: Annotated[float, typer.Option(help="For --method percentile.")] = 99.999,
    contract: ContractFile = CONTRACT,
) -> None:
    """Compute the range of every activation on the calibration set."""
    from ai102.build import verbs
    from ai102.contract import Recipe

    if not 50 < percentile < 100:
        raise UserError(f"--percentile is {percentile:g}: write a number between 50 and 100, such as 99.999")
    chosen = Recipe(method=method, percentile=percentile if method == "percentile" else None) if method else None
    _each(lambda workspace, name, screen: verbs.calibrate(workspace, name, screen, chosen), networks, contract)


def quantize(
    networks: Networks = None,
    search: Annotated[
        bool, typer.Option("--search", help="Search for the recipe first: calibration/recipes/NET.toml.")
    ] = False,
    contract: ContractFile = CONTRACT,
) -> None:
    """Build an INT8 ONNX file and compare its accuracy with the budget (exit 3 if over the budget)."""
    from ai102.build import verbs

    if search:
        _each(verbs.search, networks, contract)
    _each(verbs.quantize, networks, contract)


def check_qdq(
    file: Annotated[Path, typer.Argument(help="An ONNX file with QuantizeLinear and DequantizeLinear.")],
    verbose: Annotated[bool, typer.Option("--verbose", help="Print a line for every node.")] = False,
) -> None:
    """Report what TensorRT would refuse in a Q/DQ graph, or run in another precision than meant (exit 1 if any)."""
    from ai102.int8.qdq.report import report_lines

    lines, is_broken = report_lines(file, verbose=verbose)
    for line in lines:
        typer.echo(line)
    if is_broken:
        raise typer.Exit(1)


def report(networks: Networks = None, contract: ContractFile = CONTRACT) -> None:
    """Write a report on the quantization: calibration/reports/NET.html, and a JSON file beside it."""
    from ai102.build.report.write import write

    _each(write, networks, contract)


def configure(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is stale.")] = False,
    target: Annotated[
        Literal["onnxruntime", "tensorrt"], typer.Option(help="tensorrt: INT8 networks as plans on a GPU.")
    ] = "onnxruntime",
    contract: ContractFile = CONTRACT,
) -> None:
    """Write every config.pbtxt, label file and Python model of model_repository from models.toml."""
    from contextlib import nullcontext

    from ai102.build import plans
    from ai102.build.judged import judged_otherwise
    from ai102.build.lock import opened
    from ai102.build.workspace import Workspace
    from ai102.configs import configure as configs

    with nullcontext(Workspace.of(contract)) if check else opened(contract, typer.echo) as workspace:
        plan_files = plans.per_capability(workspace) if target == "tensorrt" else {}
        if check:
            configs.check(workspace.contract, workspace.repository, target, plan_files)
            return
        for path in configs.write(workspace.contract, workspace.repository, target, plan_files):
            verb = "wrote" if (workspace.repository / path).exists() else "removed"
            typer.echo(f"{verb} {workspace.repository.name}/{path}")
        for name in judged_otherwise(workspace):
            change = f"{name}_int8 was judged before {name} changed in models.toml"
            typer.echo(f"warning: {change}; `ai102 engine {name}` judges it again", err=True)


def _each(step: object, networks: list[str] | None, contract_file: Path) -> None:
    from ai102.build.lock import opened
    from ai102.cli.screen import Screen

    assert callable(step)
    screen = Screen()
    with opened(contract_file, screen.say, networks or ()) as workspace:
        for name in networks or workspace.contract.networks:
            step(workspace, name, screen)
