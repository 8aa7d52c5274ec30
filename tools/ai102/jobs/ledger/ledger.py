"""Every change of a job, each one transaction; what changes many jobs changes them in bulk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ai102.jobs.item import Item
from ai102.jobs.job import Claimed, Ended, Job, NewJob, Priority, State
from ai102.jobs.ledger.opened import engine_for, writing
from ai102.jobs.ledger.reads import BULK, SHOWN, Reads, job_from_row, one_of, within
from ai102.jobs.ledger.tables import jobs

MAX_ATTEMPTS = 5
KEEP_S = 24 * 3600.0
# Of inputs that are claimed at once.
CLAIM_BYTES = 16 << 20
TOO_LATE = "its time was over before it was begun"
# Of a new row.
_COLUMNS = (
    "id", "owner", "idempotency_key", "fingerprint", "model", "priority", "state", "accepted_s", "published_s",
    "not_after_s", "attempts", "claims", "forms", "input", "error", "callback", "callback_tries", "traceparent",
)  # fmt: skip
_CLAIMED = (
    jobs.c.id, jobs.c.model, jobs.c.forms, jobs.c.input, jobs.c.priority, jobs.c.claims, jobs.c.attempts,
    jobs.c.accepted_s, jobs.c.published_s, jobs.c.traceparent,
)  # fmt: skip
# The job of_id, if nobody has claimed it since claim of_claim.
_MINE = (
    jobs.c.id == bindparam("of_id"),
    jobs.c.claims == bindparam("of_claim"),
    jobs.c.state == State.RUNNING.value,
)


class Accepted(NamedTuple):
    """What came of a new job: the id under which it is known, and whether that is an earlier job of the same key."""

    id: str
    is_repeated: bool = False
    is_other: bool = False  # the key belongs to another request


class Notice(NamedTuple):
    """What the queue is given of a job."""

    id: str
    priority: Priority


class Claims(NamedTuple):
    """Jobs that were claimed, and ids of those that were not because of their size."""

    claimed: list[Claimed]
    left: list[str]


class Due(NamedTuple):
    """A callback to make now: of a job that has ended, the `tries`th time (from 1)."""

    job: Job
    url: str
    tries: int


class Ledger(Reads):
    """Any thread may use it."""

    def __init__(
        self,
        url: str,
        *,
        fsync: bool = False,
        password_file: Path | None = None,
        keep_s: float = KEEP_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`keep_s`: how long a job stays after its end. Raises UserError and JobsError as engine_for."""
        self.url = url
        self._engine = engine_for(url, fsync=fsync, password_file=password_file)
        self._keep_s = keep_s
        self._clock = clock
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        # Compiled once: to bind 12,000 rows a second, SQLAlchemy's own way would take half of a core.
        compiled = dialect.insert(jobs).on_conflict_do_nothing().compile(self._engine, column_keys=list(_COLUMNS))
        self._insert = str(compiled)
        self._order = compiled.positiontup  # None where the driver takes names

    def accept(self, new: Sequence[NewJob]) -> list[Accepted]:
        """Write the jobs; when this returns they are accepted. A key that its owner used before gives the job of then.

        Raises JobsError; then none of them is accepted.
        """
        now_s = self._clock()
        rows: list[Any] = [_row_of(job, now_s) for job in new]
        if self._order is not None:
            in_order = itemgetter(*self._order)
            rows = [in_order(row) for row in rows]
        keyed = [job for job in new if job.key]
        with writing(self._engine) as connection:
            connection.exec_driver_sql(self._insert, rows)
            known = _known_by_key(connection, keyed)
        accepted = []
        for job in new:
            id, fingerprint = known.get((job.owner, job.key), (job.id, job.fingerprint)) if job.key else (job.id, b"")
            accepted.append(Accepted(id, id != job.id, bool(job.key) and fingerprint != job.fingerprint))
        return accepted

    def claim(self, ids: Sequence[str], lease_s: float, max_bytes: int = CLAIM_BYTES) -> Claims:
        """Those of the jobs that are queued, now running in the caller's hands for `lease_s`; the others are skipped.

        Inputs of more than `max_bytes` are not taken together: what is `left` is to be claimed next. A job that was not
        begun in its time expires instead.
        """
        now_s = self._clock()
        queued = and_(jobs.c.id.in_(ids), jobs.c.state == State.QUEUED)
        with writing(self._engine) as connection:
            late = and_(queued, jobs.c.not_after_s < now_s)
            connection.execute(update(jobs).where(late).values(**self._end(State.EXPIRED, now_s, TOO_LATE)))
            sizes = connection.execute(select(jobs.c.id, func.length(jobs.c.input)).where(queued)).all()
            taken, left = within({row[0]: row[1] for row in sizes}, max_bytes)
            rows = connection.execute(
                update(jobs)
                .where(jobs.c.id.in_(taken), jobs.c.state == State.QUEUED)
                .values(
                    state=State.RUNNING,
                    attempts=jobs.c.attempts + 1,
                    claims=jobs.c.claims + 1,
                    claimed_until_s=now_s + lease_s,
                )
                .returning(*_CLAIMED)
            ).all()
        claimed = [
            Claimed(
                row.id, row.model, Item(row.forms, row.input), Priority(row.priority), row.claims, row.attempts,
                row.accepted_s, row.published_s, row.traceparent,
            )
            for row in sorted(rows, key=lambda row: row.id)
        ]  # fmt: skip
        return Claims(claimed, left)

    def renew(self, claimed: Sequence[Claimed], lease_s: float) -> None:
        """Hold the jobs for `lease_s` from now; jobs that were taken away since stay so."""
        until_s = self._clock() + lease_s
        rows = [{"of_id": one.id, "of_claim": one.claim} for one in claimed]
        if rows:
            with writing(self._engine) as connection:
                connection.execute(update(jobs).where(*_MINE).values(claimed_until_s=until_s), rows)

    def end(self, ended: Sequence[Ended]) -> int:
        """Write what became of jobs, once: whoever no longer holds the job changes nothing. How many were written."""
        if not ended:
            return 0
        now_s = self._clock()
        with writing(self._engine) as connection:
            result = connection.execute(
                update(jobs)
                .where(*_MINE)
                .values(
                    state=bindparam("new_state"),
                    answer_forms=bindparam("new_forms"),
                    answer=bindparam("new_answer"),
                    input=None,
                    error=bindparam("new_error"),
                    claimed_until_s=None,
                    ended_s=now_s,
                    kept_until_s=now_s + self._keep_s,
                    callback_due_s=_due(now_s),
                ),
                [
                    {
                        "of_id": one.id,
                        "of_claim": one.claim,
                        "new_state": one.state,
                        "new_forms": one.answer.forms if one.answer else None,
                        "new_answer": one.answer.data if one.answer else None,
                        "new_error": one.error,
                    }
                    for one in ended
                ],
            )
            return int(result.rowcount)

    def give_back(self, claimed: Sequence[Claimed], reason: str, *, is_attempt: bool) -> list[Notice]:
        """Queue jobs again that failed through no fault of their input; after MAX_ATTEMPTS they are dead instead.

        `is_attempt`: whether it counts as one. It does not where no model was asked. The jobs that are queued, to be
        announced by the caller.
        """
        claims = {(one.id, one.claim) for one in claimed}
        with writing(self._engine) as connection:
            rows = connection.execute(_held().where(jobs.c.id.in_([one.id for one in claimed]))).all()
            held = [row for row in rows if (row.id, row.claims) in claims]
            return self._queue_again(connection, held, reason, is_attempt)

    def take_back(self, limit: int = 1000) -> list[Notice]:
        """Running jobs whose worker's time is over, queued again or dead; those that are queued."""
        with writing(self._engine) as connection:
            rows = connection.execute(_held().where(jobs.c.claimed_until_s < self._clock()).limit(limit)).all()
            return self._queue_again(connection, rows, "its worker ended or hung", True)

    def lost(self, priority: Priority, before_s: float, limit: int = 1000) -> list[Notice]:
        """Queued jobs last announced before `before_s`, marked as announced now: whoever asks takes them."""
        with writing(self._engine) as connection:
            waiting = (
                select(jobs.c.id)
                .where(jobs.c.state == State.QUEUED, jobs.c.priority == int(priority), jobs.c.published_s < before_s)
                .order_by(jobs.c.published_s)
                .limit(limit)
            )
            rows = connection.execute(
                update(jobs).where(jobs.c.id.in_(waiting)).values(published_s=self._clock()).returning(jobs.c.id)
            ).all()
        return [Notice(row.id, priority) for row in sorted(rows, key=lambda row: row.id)]

    def cancel(self, owner: str, id: str) -> Job | None:
        """Cancel a job that has not ended; its answer, should one come, is dropped. The job as it is now."""
        now_s = self._clock()
        with writing(self._engine) as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.id == id, jobs.c.owner == owner, jobs.c.state.in_([State.QUEUED, State.RUNNING]))
                .values(**self._end(State.CANCELLED, now_s, ""))
            )
            return one_of(connection, owner, id)

    def put_back(self, ids: Sequence[str]) -> set[str]:
        """Queue dead jobs again with all their attempts; those that were dead. `lost` finds them at once."""
        with writing(self._engine) as connection:
            rows = connection.execute(
                update(jobs)
                .where(jobs.c.id.in_(ids), jobs.c.state == State.DEAD)
                .values(
                    state=State.QUEUED,
                    attempts=0,
                    error="",
                    ended_s=None,
                    kept_until_s=None,
                    published_s=0.0,
                    callback_due_s=None,
                    callback_tries=0,
                )
                .returning(jobs.c.id)
            ).all()
        return {row.id for row in rows}

    def fetched(self, ids: Iterable[str]) -> None:
        """Note that the answers of these jobs were given to their owners."""
        asked, now_s = list(ids), self._clock()
        with writing(self._engine) as connection:
            for at in range(0, len(asked), BULK):
                wanted = and_(jobs.c.id.in_(asked[at : at + BULK]), jobs.c.fetched_s.is_(None))
                connection.execute(update(jobs).where(wanted).values(fetched_s=now_s))

    def due_callbacks(self, limit: int, lease_s: float) -> list[Due]:
        """Callbacks that are due; nobody else gets them for `lease_s`."""
        now_s = self._clock()
        due = select(jobs.c.id).where(jobs.c.callback_due_s <= now_s).order_by(jobs.c.callback_due_s).limit(limit)
        with writing(self._engine) as connection:
            rows = connection.execute(
                update(jobs)
                .where(jobs.c.id.in_(due))
                .values(callback_due_s=now_s + lease_s, callback_tries=jobs.c.callback_tries + 1)
                .returning(*SHOWN, jobs.c.callback, jobs.c.callback_tries)
            ).all()
        return [Due(job_from_row(row), row.callback, row.callback_tries) for row in rows]

    def callback_made(self, id: str, again_s: float | None) -> None:
        """Note that a callback was made or given up, or (`again_s`) when the next try is due."""
        with writing(self._engine) as connection:
            connection.execute(update(jobs).where(jobs.c.id == id).values(callback_due_s=again_s))

    def erase(self, owner: str, limit: int = 1000) -> int:
        """Remove up to `limit` jobs of a caller, whatever their state: inputs, results and rows. How many went."""
        return self._remove(select(jobs.c.id).where(jobs.c.owner == owner).limit(limit))

    def drop_old(self, limit: int = 1000) -> int:
        """Remove jobs that ended so long ago that they are no longer kept. How many went."""
        return self._remove(select(jobs.c.id).where(jobs.c.kept_until_s < self._clock()).limit(limit))

    def compact(self) -> None:
        """Overwrite what was removed in an SQLite file; PostgreSQL's own vacuum does that in time."""
        if self._engine.dialect.name == "sqlite":
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                raw = connection.connection.driver_connection
                assert raw is not None
                raw.execute("VACUUM")
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._engine.dispose()

    def _end(self, state: State, now_s: float, reason: str) -> dict[str, Any]:
        return {
            "state": state,
            "ended_s": now_s,
            "kept_until_s": now_s + self._keep_s,
            "claimed_until_s": None,
            "callback_due_s": _due(now_s),
            # A dead job may be put back.
            "input": jobs.c.input if state is State.DEAD else None,
            "error": reason,
        }

    def _queue_again(
        self, connection: Connection, rows: Sequence[Row[Any]], reason: str, is_attempt: bool
    ) -> list[Notice]:
        now_s = self._clock()
        dead = [row.id for row in rows if is_attempt and row.attempts >= MAX_ATTEMPTS]
        again = [row for row in rows if row.id not in set(dead)]
        attempts = jobs.c.attempts if is_attempt else jobs.c.attempts - 1
        connection.execute(
            update(jobs)
            .where(jobs.c.id.in_([row.id for row in again]))
            .values(state=State.QUEUED, claimed_until_s=None, published_s=now_s, error=reason, attempts=attempts)
        )
        connection.execute(update(jobs).where(jobs.c.id.in_(dead)).values(**self._end(State.DEAD, now_s, reason)))
        return [Notice(row.id, Priority(row.priority)) for row in again]

    def _remove(self, wanted: Select[Any]) -> int:
        with writing(self._engine) as connection:
            return int(connection.execute(delete(jobs).where(jobs.c.id.in_(wanted))).rowcount)


def _due(now_s: float) -> ColumnElement[float | None]:
    """Of a job that ends now, if it has a callback."""
    return case((jobs.c.callback != "", now_s), else_=None)


def _row_of(job: NewJob, now_s: float) -> dict[str, Any]:
    """The columns of _COLUMNS."""
    return {
        "id": job.id,
        "owner": job.owner,
        "idempotency_key": job.key or None,
        "fingerprint": job.fingerprint or None,
        "model": job.model,
        "priority": int(job.priority),
        "state": State.QUEUED.value,
        "accepted_s": now_s,
        "published_s": now_s,
        "not_after_s": job.not_after_s,
        "attempts": 0,
        "claims": 0,
        "forms": job.item.forms,
        "input": job.item.data,
        "error": "",
        "callback": job.callback,
        "callback_tries": 0,
        "traceparent": job.traceparent,
    }


def _known_by_key(connection: Connection, keyed: Sequence[NewJob]) -> dict[tuple[str, str], tuple[str, bytes]]:
    by_owner: dict[str, list[str]] = {}
    for job in keyed:
        by_owner.setdefault(job.owner, []).append(job.key)
    known = {}
    for owner, keys in by_owner.items():
        for at in range(0, len(keys), BULK):
            rows = connection.execute(
                select(jobs.c.idempotency_key, jobs.c.id, jobs.c.fingerprint).where(
                    jobs.c.owner == owner, jobs.c.idempotency_key.in_(keys[at : at + BULK])
                )
            )
            known.update({(owner, row.idempotency_key): (row.id, bytes(row.fingerprint or b"")) for row in rows})
    return known


def _held() -> Select[Any]:
    return select(jobs.c.id, jobs.c.claims, jobs.c.attempts, jobs.c.priority).where(jobs.c.state == State.RUNNING)
