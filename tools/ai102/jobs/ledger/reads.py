"""Every question to the ledger that changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, Select, and_, func, select

from ai102.jobs.item import Item
from ai102.jobs.job import Job, Priority, State
from ai102.jobs.ledger.opened import reading
from ai102.jobs.ledger.tables import jobs

# Of one statement that names its jobs.
BULK = 500
# Of answers that are read at once.
ANSWERS_BYTES = 16 << 20
SHOWN = (
    jobs.c.id, jobs.c.owner, jobs.c.model, jobs.c.state, jobs.c.priority, jobs.c.idempotency_key, jobs.c.accepted_s,
    jobs.c.not_after_s, jobs.c.ended_s, jobs.c.kept_until_s, jobs.c.attempts, jobs.c.error,
)  # fmt: skip


class Waiting(NamedTuple):
    """What is not done: by priority how many jobs wait and the age of the oldest in seconds."""

    queued: dict[Priority, tuple[int, float]]
    running: int
    dead: int


class Reads:
    """Any thread may use it."""

    _engine: Engine
    _clock: Callable[[], float]

    def get(self, owner: str, id: str) -> Job | None:
        with reading(self._engine) as connection:
            return one_of(connection, owner, id)

    def answer(self, owner: str, id: str) -> Item | None:
        """The answer of a job that succeeded."""
        with reading(self._engine) as connection:
            row = connection.execute(
                select(jobs.c.answer_forms, jobs.c.answer).where(jobs.c.id == id, jobs.c.owner == owner)
            ).one_or_none()
        return _answer_of(row) if row else None

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
        asked = shown_jobs().add_columns(jobs.c.answer_forms, jobs.c.answer)
        with reading(self._engine) as connection:
            sizes = connection.execute(select(jobs.c.id, func.length(jobs.c.answer)).where(owned)).all()
            taken, _ = within({row[0]: row[1] for row in sizes}, max_bytes)
            rows = connection.execute(asked.where(jobs.c.owner == owner, jobs.c.id.in_(taken))).all()
        return [
            (job_from_row(row), Item(row.answer_forms, row.answer) if row.answer_forms is not None else None)
            for row in rows
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
        wanted = shown_jobs().order_by(jobs.c.id.desc()).limit(limit)
        if owner is not None:
            wanted = wanted.where(jobs.c.owner == owner)
        if state is not None:
            wanted = wanted.where(jobs.c.state == state)
        if before:
            wanted = wanted.where(jobs.c.id < before)
        with reading(self._engine) as connection:
            return [job_from_row(row) for row in connection.execute(wanted)]

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

    def unfetched(self, within_s: float) -> int:
        """How many answers will be removed within that time that nobody has fetched."""
        wanted = and_(
            jobs.c.kept_until_s < self._clock() + within_s,
            jobs.c.fetched_s.is_(None),
            jobs.c.state == State.SUCCEEDED,
        )
        with reading(self._engine) as connection:
            return int(connection.execute(select(func.count()).select_from(jobs).where(wanted)).scalar_one())

    def now_s(self) -> float:
        return self._clock()


def within(sizes: Mapping[str, int], max_bytes: int) -> tuple[list[str], list[str]]:
    """The first ids whose sizes are no more than `max_bytes` together, at least one; and the others."""
    ids, total = sorted(sizes), 0
    for place, id in enumerate(ids):
        total += sizes[id] or 0
        if total > max_bytes and place:
            return ids[:place], ids[place:]
    return ids, []


def _answer_of(row: Any) -> Item | None:
    return Item(row.answer_forms, row.answer) if row.answer_forms is not None else None


def shown_jobs() -> Select[Any]:
    return select(*SHOWN)


def one_of(connection: Connection, owner: str, id: str) -> Job | None:
    row = connection.execute(shown_jobs().where(jobs.c.id == id, jobs.c.owner == owner)).one_or_none()
    return job_from_row(row) if row else None


def job_from_row(row: Row[Any]) -> Job:
    return Job(
        row.id, row.owner, row.model, State(row.state), Priority(row.priority), row.idempotency_key or "",
        row.accepted_s, row.not_after_s, row.ended_s, row.kept_until_s, row.attempts, row.error,
    )  # fmt: skip
