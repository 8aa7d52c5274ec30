"""The command `python -m k8s.local`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ai102.errors import UserError
from ai102.parts import Cache, program
from ai102.parts.lock import only_one
from k8s.local import addons, api, down, faults, loading, machines, namespaces, status, up
from k8s.local.plan import CLIENT, NAME, Plan, machine_named

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

KNOWN = [addon.name for addon in addons.ADDONS]
Name = Annotated[str, typer.Option("--name", help="Which cluster of this checkout: ai102, or ai102-SUFFIX.")]
# What follows the first word is another program's.
Words = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}


@app.command("up")
def up_(
    with_: Annotated[str, typer.Option("--with", help=f"Add-ons, with commas: {', '.join(KNOWN)}.")] = "",
    name: Name = NAME,
) -> None:
    """Start the cluster, or what is missing of it, and wait until its nodes and its DNS are ready."""
    plan = Plan.named(name)
    wanted = addons.named([word for word in with_.split(",") if word])
    with _alone(plan):
        started = up.up(plan, Cache.of(os.environ), typer.echo, wanted)
    typer.echo(f"started or mended: {', '.join(started)}" if started else "everything ran already: nothing was changed")
    typer.echo("ask it: python -m k8s.local kubectl get nodes")


@app.command("down")
def down_(name: Name = NAME) -> None:
    """End the cluster and remove all of it: processes, mounts, namespaces, control groups, disks."""
    plan = Plan.named(name)
    with _alone(plan):
        down.down(plan)


@app.command("status")
def status_(name: Name = NAME) -> None:
    """What runs and what is unhealthy; exit status 1 unless all is well."""
    plan = Plan.named(name)
    state = status.state_of(plan)
    for line in status.lines_of(plan, state):
        typer.echo(line)
    raise typer.Exit(0 if status.is_healthy(state) else 1)


@app.command()
def fault(kind: str, node: Annotated[str, typer.Argument()] = "", name: Name = NAME) -> None:
    """Cause a fault or end it: cut-network, join-network, kill-node, kill-kubelet, fill-disk, free-disk NODE;
    pause-control-plane, resume-control-plane. `up` ends them all."""
    faults.inject(Plan.named(name), kind, node)


@app.command()
def load(references: Annotated[list[str] | None, typer.Argument()] = None, name: Name = NAME) -> None:
    """Push images of Docker, by default all of ours and the models image, to the cluster's registry."""
    loading.load(Plan.named(name), references or [], typer.echo)


@app.command()
def apply(folder: Path, name: Name = NAME) -> None:
    """Apply a kustomization with the digests of the loaded images: python -m k8s.local apply k8s/overlays/dev."""
    loading.apply(Plan.named(name), program("kubernetes", "kubectl"), folder)


@app.command(context_settings=Words)
def kubectl(context: typer.Context, name: Name = NAME) -> None:
    """kubectl as the cluster's admin: python -m k8s.local kubectl get pods -A."""
    _become(api.kubectl_command(Plan.named(name), program("kubernetes", "kubectl"), context.args))


@app.command(context_settings=Words)
def run(context: typer.Context, machine: str = CLIENT.name, name: Name = NAME) -> None:
    """Run a command with the network of a machine: python -m k8s.local run -- curl http://10.99.0.2:30080."""
    plan = Plan.named(name)
    if not namespaces.exists(plan.namespace(machine_named(machine))):
        raise UserError(f"there is no cluster {plan.name}: `python -m k8s.local up` starts it")
    _become(namespaces.command_in(plan.namespace(machine_named(machine)), _words(context)))


@app.command(context_settings=Words)
def enter(context: typer.Context, machine: str, name: Name = NAME) -> None:
    """Run a command in a machine as its own programs run, with its files: python -m k8s.local enter n1 -- ps ax."""
    _become(machines.command_in(Plan.named(name), machine_named(machine), _words(context)))


def main() -> None:
    """A user error prints its lines on stderr and exits with 2, a bug prints a traceback."""
    try:
        app(prog_name="python -m k8s.local")
    except UserError as err:
        sys.stderr.write(f"{err}\n")
        sys.exit(err.exit_status)


@contextmanager
def _alone(plan: Plan) -> Iterator[None]:
    with only_one(_lock(plan), lambda: typer.echo("waiting for another command that changes the cluster")):
        yield


def _lock(plan: Plan) -> Path:
    return plan.folder.with_name(f".{plan.folder.name}.lock")


def _words(context: typer.Context) -> list[str]:
    """The command to run; a shell where none is given."""
    words = context.args[1:] if context.args[:1] == ["--"] else context.args
    return list(words) or ["bash"]


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
