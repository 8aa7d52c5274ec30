"""The ledger's table and its indexes, in SQLAlchemy Core."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text

from ai102.jobs.job import State

METADATA = MetaData()

jobs = Table(
    "jobs",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("fingerprint", LargeBinary),
    Column("model", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("accepted_s", Float(53), nullable=False),
    # When it was last handed to the queue. A job that stays queued while later ones are begun was lost there.
    Column("published_s", Float(53), nullable=False),
    Column("not_after_s", Float(53)),
    Column("attempts", Integer, nullable=False),
    # How often it was claimed: whoever writes an end must hold the last claim.
    Column("claims", Integer, nullable=False),
    Column("claimed_until_s", Float(53)),
    Column("ended_s", Float(53)),
    Column("kept_until_s", Float(53)),
    Column("fetched_s", Float(53)),  # when its answer was first given to its owner
    Column("forms", Text, nullable=False),
    Column("input", LargeBinary),
    Column("answer_forms", Text),
    Column("answer", LargeBinary),
    Column("error", Text, nullable=False),
    Column("callback", Text, nullable=False),
    # When the next try is due; null: none is, because there is no callback, or the job goes on, or it was made.
    Column("callback_due_s", Float(53)),
    Column("callback_tries", Integer, nullable=False),
    Column("traceparent", Text, nullable=False),
)
_is_queued = jobs.c.state == State.QUEUED.value
_is_running = jobs.c.state == State.RUNNING.value
_has_key = jobs.c.idempotency_key.is_not(None)
_is_dead = jobs.c.state == State.DEAD.value
_is_due = jobs.c.callback_due_s.is_not(None)
_is_kept = jobs.c.kept_until_s.is_not(None)
Index(
    "jobs_by_key", jobs.c.owner, jobs.c.idempotency_key, unique=True, sqlite_where=_has_key, postgresql_where=_has_key
)
Index("jobs_by_owner", jobs.c.owner, jobs.c.id)
Index("jobs_queued", jobs.c.priority, jobs.c.published_s, sqlite_where=_is_queued, postgresql_where=_is_queued)
Index("jobs_running", jobs.c.claimed_until_s, sqlite_where=_is_running, postgresql_where=_is_running)
Index("jobs_dead", jobs.c.id, sqlite_where=_is_dead, postgresql_where=_is_dead)
Index("jobs_callbacks", jobs.c.callback_due_s, sqlite_where=_is_due, postgresql_where=_is_due)
Index("jobs_kept", jobs.c.kept_until_s, sqlite_where=_is_kept, postgresql_where=_is_kept)
