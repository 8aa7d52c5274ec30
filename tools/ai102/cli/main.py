"""The command `ai102`: its subcommands, and how errors end it."""

from __future__ import annotations

import errno
import signal
import sys

import typer

from ai102.cli import (
    add,
    api,
    ask,
    auth,
    builds,
    cluster,
    compose,
    dashboards,
    engine,
    gateway,
    image,
    kubernetes,
    lint,
    logs,
    masking,
    monitoring,
    networks,
    parts,
    preflight,
    release,
    seal,
    serve,
    top,
    tune,
)
from ai102.errors import UserError

# Subcommands import the rest of ai102 when they are called: `ai102 --help` must not wait for a framework.

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

app.command()(networks.export)
app.command()(networks.calibrate)
app.command()(networks.quantize)
app.add_typer(
    engine.app, name="engine", help="All steps from weights to model_repository; or: doctor, build-script, verify-gpu."
)
app.command("check-qdq")(networks.check_qdq)
app.command()(networks.report)
app.command()(networks.configure)
app.command()(add.add)
app.command()(add.remove)
app.command()(builds.models)
app.command()(builds.rollback)
app.command()(lint.lint)
app.command()(preflight.preflight)
app.command()(serve.serve)
app.command()(ask.infer)
app.command()(ask.verify)
app.command()(ask.demo)
app.command()(tune.tune)
app.command()(tune.explain)
app.command()(top.top)
app.add_typer(gateway.app, name="gateway", help="The gateway: render, certs, run, reload, drain, status.")
app.add_typer(auth.app, name="auth", help="The issuer: serve, user, token, revoke, rotate-keys, explain.")
app.add_typer(api.app, name="api", help="The HTTP API for images and texts, and its page: serve.")
app.add_typer(image.app, name="image", help="Container images: models, build, push, sbom, lint.")
app.add_typer(
    compose.app, name="compose", help="The whole stack in containers: prepare, secrets, up, ask, token, down."
)
app.add_typer(
    kubernetes.app,
    name="kubernetes",
    help="What k8s/ takes from the contract, and an overlay applied: render, measure, secrets, apply.",
)
app.add_typer(cluster.app, name="cluster", help="A Kubernetes that runs it: status, forward.")
app.add_typer(
    release.app,
    name="release",
    help="What callers get, signed: build, sign, verify, list, show, diff, notes, judge, promote, rollback, abort, key",
)
app.add_typer(seal.keys, name="keys", help="Keys of sealed payloads and bundles: new, rotate, list.")
app.add_typer(seal.bundle, name="bundle", help="A model repository as one encrypted file: seal, open.")
app.add_typer(logs.app, name="logs", help="Logs of all parts in OpenSearch: ship, find, expire, put-template.")
app.add_typer(dashboards.app, name="dashboards", help="Grafana's dashboards: render, pictures.")
app.add_typer(masking.app, name="masking", help="Masking of sensitive data in logs: check, apply, reveal, new-key.")
app.add_typer(monitoring.app, name="monitoring", help="Rules and routes of Prometheus: render, check, facts.")
app.add_typer(parts.app, name="parts", help="Third-party programs, in one cache: fetch, build, list.")


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
