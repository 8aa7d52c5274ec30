"""Every change of a job, each one transaction; what changes many jobs changes them in bulk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ai102.jobs.item import Item
from ai102.jobs.job import Claimed, Ended, Job, NewJob, Priority, State
from ai102.jobs.ledger.opened import engine_for, reading, writing
from ai102.jobs.ledger.tables import jobs

MAX_ATTEMPTS = 5
KEEP_S = 24 * 3600.0
# Of one statement that names its jobs.
BULK = 500
# Of inputs that are claimed, and of answers that are read, at once.
CLAIM_BYTES = 16 << 20
ANSWERS_BYTES = 16 << 20
_SHOWN = (
    jobs.c.id, jobs.c.owner, jobs.c.model, jobs.c.state, jobs.c.priority, jobs.c.idempotency_key, jobs.c.accepted_s,
    jobs.c.not_after_s, jobs.c.ended_s, jobs.c.kept_until_s, jobs.c.attempts, jobs.c.error,
)  # fmt: skip

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


class Waiting(NamedTuple):
    """What is not done: by priority how many jobs wait and the age of the oldest in seconds."""

    queued: dict[Priority, tuple[int, float]]
    running: int
    dead: int


class Ledger:
    """Any thread may use it."""

    def __init__(
        self, url: str, *, fsync: bool = False, keep_s: float = KEEP_S, clock: Callable[[], float] = time.time
    ) -> None:
        """`keep_s`: how long a job stays after its end. Raises UserError and JobsError as engine_for."""
        self.url = url
        self._engine = engine_for(url, fsync=fsync)
        self._keep_s = keep_s
        self._clock = clock
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        # Compiled once: to bind 12,000 rows a second, SQLAlchemy's own way would take half of a core.
        compiled = dialect.insert(jobs).on_conflict_do_nothing().compile(self._engine, column_keys=list(_COLUMNS))
        self._insert = str(compiled)
        self._order = compiled.positiontup  # None where the driver takes names

    def now_s(self) -> float:
        return self._clock()

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
            connection.execute(update(jobs).where(late).values(**self._end(State.EXPIRED, now_s, _too_late())))
            sizes = connection.execute(select(jobs.c.id, func.length(jobs.c.input)).where(queued)).all()
            taken, left = _within({row[0]: row[1] for row in sizes}, max_bytes)
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
        """Queued jobs last announced before `before_s`, marked as announced now: whoever asks announces them."""
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
            return _one(connection, owner, id)

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

    def unfetched(self, within_s: float) -> int:
        """How many answers will be removed within that time that nobody has fetched."""
        wanted = and_(
            jobs.c.kept_until_s < self._clock() + within_s,
            jobs.c.fetched_s.is_(None),
            jobs.c.state == State.SUCCEEDED,
        )
        with reading(self._engine) as connection:
            return int(connection.execute(select(func.count()).select_from(jobs).where(wanted)).scalar_one())

    def due_callbacks(self, limit: int, lease_s: float) -> list[tuple[Job, str, int]]:
        """Callbacks that are due, each with its URL and which try it is; nobody else gets them for `lease_s`."""
        now_s = self._clock()
        due = select(jobs.c.id).where(jobs.c.callback_due_s <= now_s).order_by(jobs.c.callback_due_s).limit(limit)
        with writing(self._engine) as connection:
            rows = connection.execute(
                update(jobs)
                .where(jobs.c.id.in_(due))
                .values(callback_due_s=now_s + lease_s, callback_tries=jobs.c.callback_tries + 1)
                .returning(*_SHOWN, jobs.c.callback, jobs.c.callback_tries)
            ).all()
        return [(_job(row), row.callback, row.callback_tries) for row in rows]

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

    def get(self, owner: str, id: str) -> Job | None:
        with reading(self._engine) as connection:
            return _one(connection, owner, id)

    def answer(self, owner: str, id: str) -> Item | None:
        """The answer of a job that succeeded."""
        with reading(self._engine) as connection:
            row = connection.execute(
                select(jobs.c.answer_forms, jobs.c.answer).where(jobs.c.id == id, jobs.c.owner == owner)
            ).one_or_none()
        return Item(row.answer_forms, row.answer) if row and row.answer_forms is not None else None

    def owned(self, owner: str, ids: Sequence[str]) -> set[str]:
        """Those of the jobs that are the owner's."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(jobs.c.id).where(jobs.c.owner == owner, jobs.c.id.in_(ids)))
            return {row.id for row in rows}

    def with_answers(
        self, owner: str, ids: Sequence[str], max_bytes: int = ANSWERS_BYTES
    ) -> list[tuple[Job, Item | None]]:
        """The owner's jobs, each with its answer if it succeeded; fewer of them if the answers are large."""
        owned = and_(jobs.c.owner == owner, jobs.c.id.in_(ids))
        asked = _jobs().add_columns(jobs.c.answer_forms, jobs.c.answer)
        with reading(self._engine) as connection:
            sizes = connection.execute(select(jobs.c.id, func.length(jobs.c.answer)).where(owned)).all()
            taken, _ = _within({row[0]: row[1] for row in sizes}, max_bytes)
            rows = connection.execute(asked.where(jobs.c.owner == owner, jobs.c.id.in_(taken))).all()
        return [
            (_job(row), Item(row.answer_forms, row.answer) if row.answer_forms is not None else None) for row in rows
        ]

    def ended_of(self, ids: Iterable[str]) -> set[str]:
        """Those of the jobs to which nothing more will happen, or that are gone."""
        asked = list(ids)
        under_way: set[str] = set()
        with reading(self._engine) as connection:
            for at in range(0, len(asked), BULK):
                rows = connection.execute(
                    select(jobs.c.id).where(
                        jobs.c.id.in_(asked[at : at + BULK]), jobs.c.state.in_([State.QUEUED, State.RUNNING])
                    )
                )
                under_way.update(row.id for row in rows)
        return set(asked) - under_way

    def page(self, owner: str | None, state: State | None = None, before: str = "", limit: int = 100) -> list[Job]:
        """Jobs, the newest first, of one owner or (None) of all; `before` an id: those accepted earlier."""
        wanted = _jobs().order_by(jobs.c.id.desc()).limit(limit)
        if owner is not None:
            wanted = wanted.where(jobs.c.owner == owner)
        if state is not None:
            wanted = wanted.where(jobs.c.state == state)
        if before:
            wanted = wanted.where(jobs.c.id < before)
        with reading(self._engine) as connection:
            return [_job(row) for row in connection.execute(wanted)]

    def waiting_by_owner(self) -> dict[str, int]:
        """How many queued jobs each owner has."""
        counted = (
            select(jobs.c.owner, func.count().label("jobs")).where(jobs.c.state == State.QUEUED).group_by(jobs.c.owner)
        )
        with reading(self._engine) as connection:
            return {row.owner: row.jobs for row in connection.execute(counted)}

    def waiting(self) -> Waiting:
        now_s = self._clock()
        queued = {}
        with reading(self._engine) as connection:
            for priority in Priority:
                of_priority = and_(jobs.c.state == State.QUEUED, jobs.c.priority == int(priority))
                count = connection.execute(select(func.count()).select_from(jobs).where(of_priority)).scalar_one()
                first = select(jobs.c.accepted_s).where(of_priority).order_by(jobs.c.published_s).limit(1)
                accepted_s = connection.execute(first).scalar()
                queued[priority] = (count, max(0.0, now_s - accepted_s) if accepted_s is not None else 0.0)
            running, dead = (
                connection.execute(select(func.count()).select_from(jobs).where(jobs.c.state == state)).scalar_one()
                for state in (State.RUNNING, State.DEAD)
            )
        return Waiting(queued, running, dead)

    def count_by_state(self) -> dict[State, int]:
        counted = select(jobs.c.state, func.count().label("jobs")).group_by(jobs.c.state)
        with reading(self._engine) as connection:
            counts = {row.state: row.jobs for row in connection.execute(counted)}
        return {state: counts.get(state.value, 0) for state in State}

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


def _within(sizes: Mapping[str, int], max_bytes: int) -> tuple[list[str], list[str]]:
    """The first ids whose sizes are no more than `max_bytes` together, at least one; and the others."""
    ids, total = sorted(sizes), 0
    for place, id in enumerate(ids):
        total += sizes[id] or 0
        if total > max_bytes and place:
            return ids[:place], ids[place:]
    return ids, []


def _due(now_s: float) -> ColumnElement[float | None]:
    """Of a job that ends now, if it has a callback."""
    return case((jobs.c.callback != "", now_s), else_=None)


def _too_late() -> str:
    return "its time was over before it was begun"


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


def _jobs() -> Select[Any]:
    return select(*_SHOWN)


def _one(connection: Connection, owner: str, id: str) -> Job | None:
    row = connection.execute(_jobs().where(jobs.c.id == id, jobs.c.owner == owner)).one_or_none()
    return _job(row) if row else None


def _job(row: Row[Any]) -> Job:
    return Job(
        row.id, row.owner, row.model, State(row.state), Priority(row.priority), row.idempotency_key or "",
        row.accepted_s, row.not_after_s, row.ended_s, row.kept_until_s, row.attempts, row.error,
    )  # fmt: skip
