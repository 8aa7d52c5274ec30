"""The command `ai102`: its verbs, and how a mistake ends."""

from __future__ import annotations

import errno
import signal
import sys

import typer

from ai102.cli import add, api, ask, auth, builds, engine, gateway, lint, masking, networks, seal, serve, tune
from ai102.errors import UserError

# The verbs import everything else of ours when they are called: `ai102 --help` must not wait for a framework.

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

app.command()(networks.export)
app.command()(networks.calibrate)
app.command()(networks.quantize)
app.add_typer(
    engine.app, name="engine", help="Every step from weights to model_repository; or: doctor, build-script, verify-gpu."
)
app.command("check-qdq")(networks.check_qdq)
app.command()(networks.report)
app.command()(networks.configure)
app.command()(add.add)
app.command()(add.remove)
app.command()(builds.models)
app.command()(builds.rollback)
app.command()(lint.lint)
app.command()(serve.serve)
app.command()(ask.infer)
app.command()(ask.verify)
app.command()(ask.demo)
app.command()(tune.tune)
app.command()(tune.explain)
app.add_typer(gateway.app, name="gateway", help="The gateway: render, certs, run, reload, drain, status.")
app.add_typer(auth.app, name="auth", help="The issuer: serve, user, token, revoke, rotate-keys, explain.")
app.add_typer(api.app, name="api", help="The friendly API and its page: serve.")
app.add_typer(seal.keys, name="keys", help="Keys of sealed payloads and bundles: new, rotate, list.")
app.add_typer(seal.bundle, name="bundle", help="A model repository as one encrypted file: seal, open.")
app.add_typer(masking.app, name="masking", help="What logs must not show: check, apply, reveal.")


def main() -> None:
    """Entry point: a mistake of the user's is one line on stderr and exit 2, ours a traceback."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what was begun is undone
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
    except KeyboardInterrupt:
        typer.echo("ai102: interrupted; what was done so far is kept", err=True)
        sys.exit(130)
