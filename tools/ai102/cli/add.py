"""Subcommands that change models.toml: add, remove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from ai102.cli.engine import CONTRACT, ContractFile
from ai102.errors import UserError

TENSOR = "NAME:TYPE[:DIMS]"
INPUT = typer.Option("--input", metavar=TENSOR, help="Such as pixels:FP32:3,224,224; repeatable; -1: varies.")
OUTPUT = typer.Option("--output", metavar=TENSOR, help="The same form; neither has the batch dimension.")


def add(
    name: Annotated[str, typer.Argument(help="The network's name in models.toml.")],
    source: Annotated[
        str, typer.Option(help="hf:ID-or-folder, onnx:FILE, torch:MODULE:CALLABLE or sklearn:FILE.", metavar="SOURCE")
    ],
    task: Annotated[
        str,
        typer.Option(
            help="image-classification, text-classification, text-embedding, token-classification or tensors."
        ),
    ],
    inputs: Annotated[list[str] | None, INPUT] = None,
    outputs: Annotated[list[str] | None, OUTPUT] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A text file with one label per line, if the source has none.")
    ] = None,
    max_batch_size: Annotated[
        int | None, typer.Option(min=0, help="For Triton's dynamic batching; 0: no batch dimension.")
    ] = None,
    calibration_set: Annotated[
        str | None, typer.Option(help="A set of calibration/sets; adds an INT8 model.", metavar="NAME")
    ] = None,
    p99_ms: Annotated[float, typer.Option(min=0.001, help="The latency goal.")] = 100.0,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Open a pickle, which can run arbitrary code.")
    ] = False,
    no_build: Annotated[bool, typer.Option("--no-build", help="Only write models.toml and the configs.")] = False,
    contract: ContractFile = CONTRACT,
) -> None:
    """Add a network to models.toml, build and configure it, with an ensemble if the task has one."""
    from ai102.build import add as adding
    from ai102.cli.screen import Screen
    from ai102.contract import TASKS
    from ai102.weights.source import Wish

    if task not in TASKS:
        raise UserError(f'--task is "{task}": write one of {", ".join(TASKS)}')
    wish = Wish(
        name,
        cast(Any, task),
        inputs=tuple(_tensor("--input", text) for text in inputs or ()),
        outputs=tuple(_tensor("--output", text) for text in outputs or ()),
        labels=_lines(labels),
        max_batch_size=max_batch_size,
        allow_pickle=allow_pickle,
    )
    screen = Screen()
    new_contract = adding.add(contract, adding.Addition(source, wish, calibration_set, p99_ms, not no_build), screen)
    for line in adding.next_steps(new_contract, contract, name, is_built=not no_build):
        screen.say(line)


def remove(
    name: Annotated[str, typer.Argument(help="A network of models.toml.")], contract: ContractFile = CONTRACT
) -> None:
    """Remove a network from models.toml, with its ensembles and all files that were built for it."""
    from ai102.build.add import remove as remove_network

    for line in remove_network(contract, name):
        typer.echo(line)


def _tensor(option: str, text: str) -> Any:
    """The contract's Tensor. The name may hold colons, as in PyTorch and TensorFlow."""
    from pydantic import ValidationError

    from ai102.contract import Tensor

    name, colon, last = text.rpartition(":")
    dims: tuple[str, ...] = ()
    if colon and last.replace(",", "").replace("-", "").replace(" ", "").isdigit():
        dims = tuple(last.split(","))
        name, colon, last = name.rpartition(":")
    try:
        return Tensor.model_validate({"name": name, "type": last.upper(), "dims": [int(size) for size in dims]})
    except (ValueError, ValidationError) as err:
        raise UserError(
            f'{option} is "{text}": write {TENSOR}, such as pixels:FP32:3,224,224 or count:INT64:1'
        ) from err


def _lines(file: Path | None) -> tuple[str, ...]:
    if file is None:
        return ()
    try:
        return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as err:
        raise UserError(f"--labels {file}: {err}") from err
