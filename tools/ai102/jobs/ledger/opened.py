"""A database by its URL: SQLite with a write-ahead log, or PostgreSQL, each with what the ledger relies on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, NoSuchModuleError, OperationalError

from ai102.errors import UserError
from ai102.jobs.job import JobsError
from ai102.jobs.ledger.tables import METADATA

BUSY_TIMEOUT_S = 10
# An option of a connection: the transaction writes, so that SQLite takes its lock at the beginning.
WRITES = "ai102_writes"


def engine_for(url: str, *, fsync: bool = False) -> Engine:
    """An engine for sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME; tables are made where they are missing.

    `fsync`: a commit outlives a power cut. Without it SQLite promises only that a commit outlives the process.
    Raises UserError for a URL that is none, and JobsError when the database cannot be opened.
    """
    try:
        parsed = make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        more: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_S}} if is_sqlite else {"pool_pre_ping": True}
        engine = create_engine(parsed, **more)
    except (ArgumentError, NoSuchModuleError, ImportError) as err:
        raise UserError(f"the ledger's URL {url!r}: {err}; write sqlite:///FILE") from err
    if is_sqlite:
        _prepare_sqlite(engine, fsync)
    with writing(engine) as connection:
        METADATA.create_all(connection)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is committed when the block ends well. Raises JobsError when the database cannot."""
    with _saying_why(engine), engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A consistent view. Raises JobsError when the database cannot."""
    with _saying_why(engine), engine.connect() as connection:
        yield connection


@contextmanager
def _saying_why(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as err:
        # SQLite has no better class for a file that is none of its own.
        if isinstance(err, OperationalError) or type(err) is DatabaseError or err.connection_invalidated:
            raise JobsError(f"the ledger {engine.url.render_as_string()}: {str(err.orig).splitlines()[0]}") from err
        raise


def _prepare_sqlite(engine: Engine, fsync: bool) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
        connection.execute("PRAGMA journal_size_limit = 67108864")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
