"""Subcommands of `ai102 engine`: build (the default), doctor, build-script, verify-gpu."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from ai102.errors import UserError


class _BuildByDefault(TyperGroup):
    """`ai102 engine digits` means `ai102 engine build digits`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args.insert(0, "build")
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_BuildByDefault, add_completion=False, rich_markup_mode=None)

ContractFile = Annotated[Path, typer.Option("--contract", help="The contract file.", metavar="FILE")]
Network = Annotated[str, typer.Argument(help="A network of models.toml.")]
Networks = Annotated[list[str] | None, typer.Argument(help="Networks of models.toml; all when none is named.")]
CONTRACT = Path("models.toml")


@app.command()
def build(
    networks: Networks = None,
    target: Annotated[
        Literal["auto", "onnxruntime", "tensorrt"], typer.Option(help="auto: TensorRT if it and a GPU are present.")
    ] = "auto",
    per_compute_capability: Annotated[
        bool, typer.Option("--per-compute-capability", help="Name the plan model.smXX.plan, for mixed GPUs.")
    ] = False,
    onnx: Annotated[
        Path | None, typer.Option(help="Build only the TensorRT plan, from this ONNX file; skip the other steps.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time the engines and keep the choice: calibration/engines/NET.toml.")
    ] = False,
    contract: ContractFile = CONTRACT,
) -> None:
    """Run every step from weights to model_repository: export, calibrate, quantize, configure, TensorRT plans."""
    from ai102.build import plans
    from ai102.build.lock import opened
    from ai102.build.workspace import Workspace
    from ai102.cli.screen import Screen
    from ai102.tensorrt import gpu

    if onnx is not None and len(networks or Workspace.of(contract).contract.networks) != 1:
        raise UserError("--onnx is the file of one network: name that network")
    screen = Screen()
    chosen = gpu.pick_target(gpu.this_machine()) if target == "auto" else target
    if chosen == "tensorrt" and onnx is None:
        plans.needed_tensorrt()  # before anything is written for it
    with opened(contract, screen.say, networks or ()) as workspace:
        names = networks or list(workspace.contract.networks)
        if onnx is not None:
            plans.build(workspace, names[0], onnx, screen, per_compute_capability=per_compute_capability)
            return
        from ai102.build import verbs
        from ai102.configs import configure

        for name in names:
            verbs.engine(workspace, name, screen, measure=measure)
            if chosen == "tensorrt" and "int8" in workspace.network(name).precisions:
                file = plans.quantize(workspace, name, screen)
                plans.build(workspace, name, file, screen, per_compute_capability=per_compute_capability)
        plan_files = plans.per_capability(workspace) if chosen == "tensorrt" else {}
        for path in configure.write(workspace.contract, workspace.repository, chosen, plan_files):
            verb = "wrote" if (workspace.repository / path).exists() else "removed"
            screen.say(f"{verb} {workspace.repository.name}/{path}")


@app.command()
def doctor(
    repository: Annotated[Path, typer.Argument(help="The model repository to examine.")] = Path("model_repository"),
    tensorrt: Annotated[str | None, typer.Option(help="The serving TensorRT's version, such as 11.1.")] = None,
    compute_capability: Annotated[str | None, typer.Option(help="The serving GPU's, such as 9.0.")] = None,
) -> None:
    """Check whether each TensorRT plan loads on this machine, or on the one that the options name (exit 1 if not)."""
    from ai102.tensorrt.doctor import examine
    from ai102.tensorrt.gpu import Machine

    diagnoses = examine(repository, Machine(tensorrt=tensorrt, compute_capability=compute_capability))
    if not diagnoses:
        typer.echo(f"{repository}: no TensorRT plans; models for ONNX Runtime load on any machine")
    for diagnosis in diagnoses:
        verdict = {True: "loads", False: "will not load", None: "unknown"}[diagnosis.loads]
        typer.echo(": ".join([diagnosis.plan, verdict, *(["; ".join(diagnosis.reasons)] if diagnosis.reasons else [])]))
        if diagnosis.rebuild:
            typer.echo(f"  {diagnosis.rebuild}")
    if any(diagnosis.loads is False for diagnosis in diagnoses):
        raise typer.Exit(1)


@app.command("build-script")
def build_script(
    network: Network,
    image: Annotated[
        str, typer.Option(help="The serving image: a plan loads only in the TensorRT version that built it.")
    ],
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Print a Job's YAML instead of a docker command.")
    ] = False,
    claim: Annotated[str, typer.Option(help="The PersistentVolumeClaim that holds this repository.")] = "ai102",
    gpu: Annotated[str | None, typer.Option(help="Value of the node label nvidia.com/gpu.product to run on.")] = None,
    contract: ContractFile = CONTRACT,
) -> None:
    """Print the command that builds the plan on the serving machine."""
    from ai102.build.workspace import Workspace
    from ai102.tensorrt.build_script import docker_command, kubernetes_job

    workspace = Workspace.of(contract)
    workspace.network(network)
    onnx_file = str(workspace.qdq_file(network).relative_to(workspace.root))
    if kubernetes:
        typer.echo(kubernetes_job(network, onnx_file, image, claim, gpu))
    else:
        typer.echo(docker_command(network, onnx_file, image, workspace.root.absolute()))


@app.command("verify-gpu")
def verify_gpu(networks: Networks = None, contract: ContractFile = CONTRACT) -> None:
    """Build the plans on this machine's GPU, run them, and compare with ONNX Runtime (exit 1 if they disagree)."""
    from ai102.build import plans
    from ai102.build.workspace import Workspace
    from ai102.cli.screen import Screen

    workspace, screen = Workspace.of(contract), Screen()
    agreed = [plans.verify_on_gpu(workspace, name, screen) for name in networks or workspace.contract.networks]
    if not all(agreed):
        raise typer.Exit(1)
