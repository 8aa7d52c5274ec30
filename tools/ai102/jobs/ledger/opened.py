"""A database by its URL: SQLite with a write-ahead log, or PostgreSQL, each with what the ledger relies on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from ai102.errors import UserError
from ai102.jobs.job import JobsError
from ai102.jobs.ledger.tables import METADATA

BUSY_TIMEOUT_S = 10
CONNECT_TIMEOUT_S = 5
# An option of a connection: the transaction writes, so that SQLite takes its lock at the beginning.
WRITES = "ai102_writes"
# Of a lock in PostgreSQL: processes that start at once make its tables one after another. Any number of our own.
TABLES_LOCK = 102_102


def engine_for(url: str, *, fsync: bool = False, password_file: Path | None = None) -> Engine:
    """An engine for sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME; tables are made where they are missing.

    PostgreSQL is asked when it is needed first: it may be away until then. Its password is read for each connection.
    `fsync`: a commit outlives a power cut. Without it SQLite promises only that a commit outlives the process.
    Raises UserError for a URL that is none, and JobsError when SQLite's file cannot be opened.
    """
    try:
        parsed = make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        waits = {"timeout": BUSY_TIMEOUT_S} if is_sqlite else {"connect_timeout": CONNECT_TIMEOUT_S}
        engine = create_engine(parsed, connect_args=waits, pool_pre_ping=not is_sqlite)
    except (ArgumentError, NoSuchModuleError, ImportError) as err:
        raise UserError(f"the ledger's URL {url!r}: {err}; write sqlite:///FILE") from err
    if is_sqlite:
        _prepare_sqlite(engine, fsync)
        with writing(engine) as connection:
            METADATA.create_all(connection)
    else:
        _prepare_postgresql(engine, password_file)
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


def _prepare_postgresql(engine: Engine, password_file: Path | None) -> None:
    elements: list[ExecutableDDLElement] = []
    for table in METADATA.sorted_tables:
        elements += [CreateTable(table, if_not_exists=True)]
        elements += [CreateIndex(index, if_not_exists=True) for index in table.indexes]
    statements = [str(element.compile(engine)) for element in elements]

    @event.listens_for(engine, "first_connect")
    def connected(connection: Any, _: object) -> None:
        # psycopg's own transaction, which is over when the block is.
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_advisory_xact_lock({TABLES_LOCK})")
            for statement in statements:
                cursor.execute(statement)

    if password_file is None:
        return

    @event.listens_for(engine, "do_connect")
    def connects(_: object, __: object, ___: object, settings: dict[str, Any]) -> None:
        try:
            settings["password"] = password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as err:
            raise JobsError(f"the ledger's password: {password_file}: {getattr(err, 'strerror', err)}") from err
