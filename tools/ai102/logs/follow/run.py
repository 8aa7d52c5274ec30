"""What `ai102 masking apply --follow` does: follow until a signal, and remove what another shipper has read."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ai102.errors import UserError
from ai102.host.signals import until_signal
from ai102.logs.follow.follower import Follower
from ai102.logs.follow.spool import Spool, segments
from ai102.logs.rows import GoalsMs
from ai102.masking import Masker

IDLE_S = 0.2
REMOVE_EVERY_S = 5.0


def run(
    patterns: Sequence[str],
    folder: Path,
    masker: Masker,
    goals_ms: GoalsMs,
    *,
    most_bytes: int,
    read_by: Path | None,
    say: Callable[[str], None],
) -> None:
    """Follow the files that `patterns` name until TERM or Ctrl-C. Raises UserError.

    `read_by`: the database in which Fluent Bit's tail input keeps how far it has read the spool.
    """
    with Spool(folder, most_bytes) as spool, until_signal() as stop:
        follower = Follower(patterns, spool, masker, say, goals_ms)
        removed_at_s = time.monotonic()
        try:
            while not stop.wait(0 if follower.turn() else IDLE_S):
                if read_by and time.monotonic() - removed_at_s >= REMOVE_EVERY_S:
                    remove_read(folder, read_by)
                    removed_at_s = time.monotonic()
        finally:
            follower.close()


def remove_read(folder: Path, database: Path) -> None:
    """Remove the spool's files that Fluent Bit has read to their ends; never the newest."""
    read = _read_bytes(database)
    for _, path in segments(folder)[:-1]:
        with contextlib.suppress(FileNotFoundError):
            facts = path.stat()
            if read.get((path.name, facts.st_ino), -1) >= facts.st_size:
                path.unlink()


def _read_bytes(database: Path) -> dict[tuple[str, int], int]:
    """By name and inode, how much Fluent Bit has taken into its own buffer."""
    if not database.exists():  # Fluent Bit has not started yet
        return {}
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
            rows = connection.execute("SELECT name, inode, offset FROM in_tail_files").fetchall()
    except sqlite3.Error as err:
        raise UserError(
            f"--read-by: {database}: {err}: name the file that Fluent Bit's tail input has as `db`"
        ) from err
    return {(Path(name).name, inode): offset for name, inode, offset in rows}
