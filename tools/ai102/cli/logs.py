"""Subcommands of `ai102 logs`: ship, find, expire, put-template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ai102.errors import UserError

if TYPE_CHECKING:
    from ai102.logs.ship.index import Index

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
Url = Annotated[str, typer.Option("--to", help="OpenSearch or Elasticsearch, http(s)://HOST:PORT.")]
Credentials = Annotated[
    Path | None, typer.Option(help="A private file with user:password.", metavar="FILE", show_default=False)
]
Ca = Annotated[Path | None, typer.Option(help="A CA file for https.", metavar="FILE", show_default=False)]
KeepDays = Annotated[int, typer.Option(help="Days after which an index is deleted.", min=1)]
URL = "http://127.0.0.1:9200"
KEEP_DAYS = 14


@app.command()
def ship(
    spool: Annotated[Path, typer.Option(help="The folder that `ai102 masking apply --follow` writes.")],
    to: Url = URL,
    credentials: Credentials = None,
    ca: Ca = None,
    keep_days: KeepDays = KEEP_DAYS,
) -> None:
    """Send the masked lines of a spool to OpenSearch until Ctrl-C; what is sent twice is there once."""
    from ai102.host.signals import until_signal
    from ai102.logs.ship.reading import Reader
    from ai102.logs.ship.shipper import Shipper

    with _index(to, credentials, ca) as index, Reader(spool) as reader, until_signal() as stop:
        Shipper(reader, index, spool, stop, lambda line: typer.echo(line, err=True)).run(keep_days)


@app.command()
def find(
    request: Annotated[str, typer.Option(help="All lines of this request id.", metavar="ID")] = "",
    refused_of: Annotated[str, typer.Option(help="All that was refused to this user.", metavar="USER")] = "",
    failures_of: Annotated[str, typer.Option(help="All failures of this model or pipeline.", metavar="MODEL")] = "",
    hours: Annotated[float, typer.Option(help="Search so far back.", min=0.01)] = 24.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print whole documents, one a line.")] = False,
    to: Url = URL,
    credentials: Credentials = None,
    ca: Ca = None,
) -> None:
    """Print the lines that a saved search finds, oldest first (exit 1 when there are none)."""
    from ai102.logs import searches

    asked = {"request": request, "refused-of": refused_of, "failures-of": failures_of}
    given = {name: value for name, value in asked.items() if value}
    if len(given) != 1:
        raise UserError("give one of --request ID, --refused-of USER, --failures-of MODEL")
    [(name, value)] = given.items()
    with _index(to, credentials, ca) as index:
        found = searches.search(index, name, value, datetime.now(UTC) - timedelta(hours=hours))
    for document in found:
        typer.echo(json.dumps(document, ensure_ascii=False) if as_json else searches.line_from(document))
    if len(found) == searches.MOST_HITS:
        typer.echo(f"these are the first {searches.MOST_HITS}: give a smaller --hours", err=True)
    if not found:
        typer.echo(f"nothing found in the last {hours:g} h", err=True)
        raise typer.Exit(1)


@app.command()
def expire(to: Url = URL, credentials: Credentials = None, ca: Ca = None, keep_days: KeepDays = KEEP_DAYS) -> None:
    """Delete the indices of days that are over; `ship` does it every hour, other shippers do not."""
    from ai102.logs.ship import retention

    with _index(to, credentials, ca) as index:
        deleted = retention.expire(index, keep_days, datetime.now(UTC), typer.echo)
    typer.echo(f"{len(deleted)} indices deleted")


@app.command("put-template")
def put_template(to: Url = URL, credentials: Credentials = None, ca: Ca = None) -> None:
    """Give the index the types of all fields, before the first document; `ship` does it, other shippers do not."""
    with _index(to, credentials, ca) as index:
        index.put_template()
    typer.echo(f"{to} has the template")


@contextmanager
def _index(to: str, credentials: Path | None, ca: Path | None) -> Iterator[Index]:
    from ai102.logs.ship.index import Index, RefusedError

    try:
        with Index(to, credentials, ca) as index:
            yield index
    except RefusedError as err:
        raise UserError(str(err)) from err
