"""The command `ai102`: its subcommands, and how errors end it."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ai102.errors import UserError

# Where each command stands, and of a group what it is about: only the module of the one that is called is imported.
COMMANDS = {
    "export": ("networks.export", ""),
    "calibrate": ("networks.calibrate", ""),
    "quantize": ("networks.quantize", ""),
    "engine": ("engine.app", "All steps from weights to model_repository; or: doctor, build-script, verify-gpu."),
    "check-qdq": ("networks.check_qdq", ""),
    "report": ("networks.report", ""),
    "configure": ("networks.configure", ""),
    "add": ("add.add", ""),
    "remove": ("add.remove", ""),
    "models": ("builds.models", ""),
    "rollback": ("builds.rollback", ""),
    "lint": ("lint.lint", ""),
    "preflight": ("preflight.preflight", ""),
    "serve": ("serve.serve", ""),
    "infer": ("ask.infer", ""),
    "verify": ("ask.verify", ""),
    "demo": ("ask.demo", ""),
    "tune": ("tune.tune", ""),
    "explain": ("tune.explain", ""),
    "top": ("top.top", ""),
    "gateway": ("gateway.app", "The gateway: render, certs, run, reload, drain, status."),
    "auth": ("auth.app", "The issuer: serve, user, token, revoke, rotate-keys, explain."),
    "api": ("api.app", "The HTTP API for images and texts, and its page: serve."),
    "jobs": (
        "jobs.app",
        "Asynchronous jobs: work, submit, status, dead, put-back, erase, callback-key.",
    ),
    "image": ("image.app", "Container images: models, build, push, sbom, lint."),
    "compose": ("compose.app", "The whole stack in containers: prepare, secrets, up, ask, token, down."),
    "kubernetes": (
        "kubernetes.app",
        "What k8s/ takes from the contract, and an overlay applied: render, measure, secrets, apply.",
    ),
    "cluster": ("cluster.app", "A Kubernetes that runs it: status, forward."),
    "release": (
        "release.app",
        "What callers get, signed: build, sign, verify, list, show, diff, notes, judge, promote, rollback, abort, key",
    ),
    "keys": ("seal.keys", "Keys of sealed payloads and bundles: new, rotate, list."),
    "bundle": ("seal.bundle", "A model repository as one encrypted file: seal, open."),
    "logs": ("logs.app", "Logs of all parts in OpenSearch: ship, find, expire, put-template."),
    "dashboards": ("dashboards.app", "Grafana's dashboards: render, pictures."),
    "masking": ("masking.app", "Masking of sensitive data in logs: check, apply, reveal, new-key."),
    "monitoring": ("monitoring.app", "Rules and routes of Prometheus: render, check, facts."),
    "parts": ("parts.app", "Third-party programs, in one cache: fetch, build, list."),
}
Command = TyperCommand | TyperGroup


class Commands(Mapping[str, Command]):
    """The commands by name, each imported when it is asked for; `others` are commands already."""

    def __init__(self, others: Mapping[str, Command]) -> None:
        self._imported = dict(others)

    def __getitem__(self, name: str) -> Command:
        if name not in self._imported:
            place, about = COMMANDS[name]
            module, attribute = place.split(".")
            what = getattr(import_module(f"ai102.cli.{module}"), attribute)
            self._imported[name] = _command(name, what, about)
        return self._imported[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*COMMANDS, *self._imported)))

    def __len__(self) -> int:
        return len(COMMANDS.keys() | self._imported.keys())


def _command(name: str, what: Any, about: str) -> Command:
    holder = typer.Typer(add_completion=False, rich_markup_mode=None)
    if isinstance(what, typer.Typer):
        holder.add_typer(what, name=name, help=about)
    else:
        holder.command(name)(what)
    commands: dict[str, Command] = typer.main.get_group(holder).commands  # type: ignore[assignment]
    return commands[name]


class Ai102(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands(self.commands)  # type: ignore[assignment,arg-type]


app = typer.Typer(
    cls=Ai102, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


@app.callback()
def ai102() -> None:
    """Build models for NVIDIA Triton Inference Server, serve them, guard them, watch them and release them."""


INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Entry point: a user error prints one line on stderr and exits with 2, a bug prints a traceback."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that cleanup runs
    sys.unraisablehook = _unraised
    try:
        app()
    except UserError as err:
        typer.echo(f"ai102: {err}", err=True)
        sys.exit(err.exit_status)
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        where = err.filename or "the disk"
        typer.echo(
            f"ai102: {where}: {err.strerror}: free some space or choose another place, and run it again", err=True
        )
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer's, for Ctrl-C
            typer.echo("ai102: interrupted", err=True)
        raise


def _unraised(what: sys.UnraisableHookArgs) -> None:
    """Nothing about an event loop that an interrupt left half made: it cannot be closed."""
    if getattr(what.object, "__qualname__", "") != "BaseEventLoop.__del__":
        sys.__unraisablehook__(what)
