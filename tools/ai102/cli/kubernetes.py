"""Subcommands of `ai102 kubernetes`: render, measure, secrets, apply."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ai102.cli.engine import CONTRACT, ContractFile

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def render(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file differs.")] = False,
    contract: ContractFile = CONTRACT,
) -> None:
    """Write the files of k8s/ that derive from models.toml, gateway.toml, monitoring/ and measurements."""
    from ai102.cli import rendering
    from ai102.kubernetes.render import files

    home = contract.absolute().parent
    rendering.render(files(home), home, check=check, command="ai102 kubernetes render")


@app.command()
def measure(
    starts: Annotated[int, typer.Option(help="How many times a replica is started.", min=1)] = 3,
    contract: ContractFile = CONTRACT,
) -> None:
    """Start a replica, and write its time to ready and its memory into loadtest/footprint.json."""
    import json

    from ai102 import contract as spec
    from ai102.artifact import write_text
    from ai102.kubernetes.footprint import FILE
    from ai102.kubernetes.measure import measure as measured

    home = contract.absolute().parent
    command = f"ai102 kubernetes measure --starts {starts}"
    row = measured(spec.load(contract), home / "model_repository", starts, command, typer.echo)
    write_text(home / FILE, json.dumps(row, indent=1) + "\n")
    typer.echo(f"wrote {FILE}; now run `ai102 kubernetes render`")


@app.command()
def secrets(
    name: Annotated[
        list[str] | None, typer.Option(help="A host name or address of the gateway for its certificate; repeatable.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Where the Secrets go.")] = "ai102",
    folder: Annotated[Path, typer.Option(help="Where they are kept.")] = Path("build/kubernetes/secrets"),
) -> None:
    """Print the Secrets that the manifests name, for `kubectl apply -f -`; what is missing is made in the folder."""
    from ai102.kubernetes import secrets as making

    making.make(folder, ("gateway", f"gateway.{namespace}.svc", *(name or ())))
    typer.echo(making.manifests(folder, namespace), nl=False)


@app.command()
def apply(
    overlay: Annotated[Path, typer.Argument(help="A folder of k8s/overlays, or your own overlay.")],
    pushed: Annotated[
        list[Path] | None, typer.Option(help="What `ai102 image push` printed: a file, or a folder of *.txt.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="An image that stays the one that runs, as server; repeatable.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="A file for all images, as `ai102 image push` prints them.")
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where it goes.")] = "ai102",
    context: Annotated[str, typer.Option(help="Of the kubeconfig; default: its current one.")] = "",
    kubeconfig: Annotated[Path | None, typer.Option(help="Default: as kubectl finds it.")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout-s", help="For each workload to get ready.", min=1)] = 300.0,
) -> None:
    """Apply an overlay with pushed images by digest, others as they run, and wait for it (exit 4 if not ready)."""
    from ai102.artifact import write_text
    from ai102.cluster.asking import kubectl_for
    from ai102.errors import UserError
    from ai102.kubernetes import applying

    if not (overlay / "kustomization.yaml").is_file():
        raise UserError(f"{overlay}: has no kustomization.yaml; give the folder of an overlay")
    kubectl = kubectl_for(namespace, context, kubeconfig, timeout_s)
    target = applying.Overlay(overlay.resolve(), namespace, Path("build/kubernetes/applied").resolve() / namespace)
    images = applying.apply(kubectl, target, applying.pushed_in(pushed or ()), keep or ())
    lines = [f"pushed {image}" for _, image in sorted(images.items())]
    if write is not None:
        write_text(write, "\n".join(lines) + "\n")
    typer.echo("\n".join(line.replace("pushed", "runs", 1) for line in lines))
