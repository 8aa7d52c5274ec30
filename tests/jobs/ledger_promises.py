"""What the ledger promises in each database: accepted is kept, one result for a job, no end by who no longer holds it.

A test file imports these and gives `ledger_url`.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from ai102.jobs.job import Claimed, Ended, Priority, State
from ai102.jobs.ledger.ledger import MAX_ATTEMPTS, Ledger
from ai102.jobs.ledger.opened import reading
from ai102.jobs.ledger.tables import jobs
from tests.jobs.new import Clock, digit, job


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    opened = Ledger(ledger_url, keep_s=100, clock=clock)
    yield opened
    opened.close()


def accepted(ledger: Ledger, count: int = 1, **more: object) -> list[str]:
    return [one.id for one in ledger.accept([job(**more) for _ in range(count)])]  # type: ignore[arg-type]


def ended(claimed: Claimed, value: int = 0) -> Ended:
    return Ended(claimed.id, claimed.claim, State.SUCCEEDED, digit(value))


def test_an_accepted_job_is_there_for_who_opens_the_ledger_anew(ledger: Ledger, ledger_url: str) -> None:
    (id,) = accepted(ledger)
    other = Ledger(ledger_url)
    job = other.get("ann", id)
    other.close()
    assert job is not None
    assert (job.state, job.model, job.attempts, job.accepted_s) == (State.QUEUED, "digits_int8", 0, 1000.0)


def test_a_job_is_only_its_owners(ledger: Ledger) -> None:
    (id,) = accepted(ledger)
    assert ledger.get("bob", id) is None
    assert ledger.answer("bob", id) is None
    assert ledger.cancel("bob", id) is None
    assert ledger.page("bob") == []
    assert ledger.owned("bob", [id]) == set()
    assert ledger.with_answers("bob", [id]) == []


def test_a_key_gives_the_job_of_the_first_call(ledger: Ledger) -> None:
    first = ledger.accept([job(key="k", value=1)])[0]
    again, other_owner, other_input = ledger.accept(
        [job(key="k", value=1), job(owner="bob", key="k", value=1), job(key="k", value=2)]
    )
    assert (again.id, again.is_repeated, again.is_other) == (first.id, True, False)
    assert (other_owner.is_repeated, other_owner.id == first.id) == (False, False)
    assert (other_input.id, other_input.is_other) == (first.id, True)
    assert len(ledger.page("ann")) == 1


def test_a_key_twice_in_one_call_is_one_job(ledger: Ledger) -> None:
    one, other = ledger.accept([job(key="k"), job(key="k")])
    assert (one.id == other.id, one.is_repeated, other.is_repeated) == (True, False, True)


def test_of_two_who_claim_a_job_one_gets_it(ledger: Ledger) -> None:
    ids = accepted(ledger, 3)
    assert [one.id for one in ledger.claim(ids, 60).claimed] == sorted(ids)
    assert ledger.claim(ids, 60).claimed == []


def test_a_result_is_written_once(ledger: Ledger) -> None:
    (claimed,) = ledger.claim(accepted(ledger), 60).claimed
    assert ledger.end([ended(claimed, 1)]) == 1
    assert ledger.end([ended(claimed, 2)]) == 0
    assert ledger.answer("ann", claimed.id) == digit(1)


def test_a_worker_that_was_too_slow_writes_nothing(ledger: Ledger, clock: Clock) -> None:
    ids = accepted(ledger)
    (slow,) = ledger.claim(ids, 60).claimed
    clock.now += 61
    assert [notice.id for notice in ledger.take_back()] == ids
    (quick,) = ledger.claim(ids, 60).claimed
    assert ledger.end([ended(slow, 1)]) == 0
    assert ledger.end([ended(quick, 2)]) == 1
    assert ledger.answer("ann", ids[0]) == digit(2)


def test_a_worker_that_renews_keeps_its_jobs(ledger: Ledger, clock: Clock) -> None:
    claimed = ledger.claim(accepted(ledger), 60).claimed
    clock.now += 50
    ledger.renew(claimed, 60)
    clock.now += 50
    assert ledger.take_back() == []


def test_after_the_last_attempt_a_job_is_dead_and_can_be_put_back(ledger: Ledger) -> None:
    ids = accepted(ledger)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claimed = ledger.claim(ids, 60).claimed
        assert claimed[0].attempts == attempt
        assert len(ledger.give_back(claimed, "the server fell over", is_attempt=True)) == (attempt < MAX_ATTEMPTS)
    (dead,) = ledger.page(None, State.DEAD)
    assert (dead.id, dead.error) == (ids[0], "the server fell over")
    assert ledger.put_back([*ids, "another"]) == set(ids)
    assert [notice.id for notice in ledger.lost(Priority.NORMAL, 900.0)] == ids
    assert ledger.claim(ids, 60).claimed[0].attempts == 1


def test_a_server_that_was_not_there_costs_no_attempt(ledger: Ledger) -> None:
    ids = accepted(ledger)
    for _ in range(2 * MAX_ATTEMPTS):
        claimed = ledger.claim(ids, 60).claimed
        assert [notice.id for notice in ledger.give_back(claimed, "nobody listens", is_attempt=False)] == ids
    assert ledger.claim(ids, 60).claimed[0].attempts == 1


def test_who_gave_a_job_back_can_no_longer_end_it(ledger: Ledger) -> None:
    ids = accepted(ledger)
    first = ledger.claim(ids, 60).claimed
    ledger.give_back(first, "", is_attempt=False)
    second = ledger.claim(ids, 60).claimed
    assert ledger.end([ended(first[0])]) == 0
    assert ledger.give_back(first, "", is_attempt=False) == []
    assert ledger.end([ended(second[0])]) == 1


def test_a_job_not_begun_in_time_expires(ledger: Ledger, clock: Clock) -> None:
    ids = accepted(ledger, not_after_s=1010.0)
    clock.now = 1011.0
    assert ledger.claim(ids, 60).claimed == []
    expired = ledger.get("ann", ids[0])
    assert expired is not None
    assert (expired.state, expired.ended_s, expired.kept_until_s) == (State.EXPIRED, 1011.0, 1111.0)


def test_a_cancelled_job_drops_the_answer_that_still_comes(ledger: Ledger) -> None:
    ids = accepted(ledger)
    (claimed,) = ledger.claim(ids, 60).claimed
    cancelled = ledger.cancel("ann", ids[0])
    assert cancelled is not None
    assert cancelled.state is State.CANCELLED
    assert ledger.end([ended(claimed)]) == 0
    assert ledger.answer("ann", ids[0]) is None


def test_a_job_that_ended_cannot_be_cancelled(ledger: Ledger) -> None:
    (claimed,) = ledger.claim(accepted(ledger), 60).claimed
    ledger.end([ended(claimed)])
    still = ledger.cancel("ann", claimed.id)
    assert still is not None
    assert still.state is State.SUCCEEDED


def test_what_the_queue_lost_is_announced_again_once(ledger: Ledger, clock: Clock) -> None:
    early = accepted(ledger, 2)
    clock.now = 1020.0
    accepted(ledger)
    assert [notice.id for notice in ledger.lost(Priority.NORMAL, 1010.0)] == sorted(early)
    assert ledger.lost(Priority.NORMAL, 1010.0) == []
    assert ledger.lost(Priority.HIGH, 2000.0) == []


def test_results_are_kept_for_a_time_and_then_removed(ledger: Ledger, clock: Clock) -> None:
    done, waiting = accepted(ledger, 2)
    ledger.end([ended(one) for one in ledger.claim([done], 60).claimed])
    clock.now = 1099.0
    assert ledger.drop_old() == 0
    clock.now = 1101.0
    assert ledger.drop_old() == 1
    assert ledger.get("ann", done) is None
    assert ledger.get("ann", waiting) is not None
    assert ledger.ended_of([done, waiting]) == {done}


def test_erased_jobs_are_gone(ledger: Ledger) -> None:
    ledger.accept([job(owner="ann"), job(owner="bob")])
    assert ledger.erase("ann") == 1
    assert ledger.waiting_by_owner() == {"bob": 1}


def test_pages_follow_one_another(ledger: Ledger) -> None:
    ids = sorted(accepted(ledger, 5), reverse=True)
    first = ledger.page("ann", limit=2)
    second = ledger.page("ann", before=first[-1].id, limit=2)
    assert [job.id for job in (*first, *second)] == ids[:4]
    assert [job.id for job in ledger.page("ann", State.RUNNING)] == []


def test_answers_that_nobody_fetched_are_counted_before_they_go(ledger: Ledger, clock: Clock) -> None:
    ids = accepted(ledger, 3)
    ledger.end([ended(one) for one in ledger.claim(ids, 60).claimed])
    assert ledger.unfetched(99) == 0
    assert ledger.unfetched(101) == 3
    ledger.fetched(ids[:1])
    assert ledger.unfetched(101) == 2


def test_an_input_is_kept_no_longer_than_it_is_needed(ledger: Ledger) -> None:
    done, gone, dead = accepted(ledger, 3)
    ledger.end([ended(one) for one in ledger.claim([done], 60).claimed])
    ledger.cancel("ann", gone)
    for _ in range(MAX_ATTEMPTS):
        ledger.give_back(ledger.claim([dead], 60).claimed, "", is_attempt=True)
    with reading(ledger._engine) as connection:
        rows = connection.execute(select(jobs.c.id, jobs.c.input)).all()
    assert {row.id for row in rows if row.input is not None} == {dead}


def test_large_inputs_are_not_claimed_all_at_once(ledger: Ledger) -> None:
    ids = sorted(accepted(ledger, 3))
    first = ledger.claim(ids, 60, max_bytes=130)
    assert ([one.id for one in first.claimed], first.left) == (ids[:2], ids[2:])
    second = ledger.claim(first.left, 60, max_bytes=1)
    assert ([one.id for one in second.claimed], second.left) == (ids[2:], [])


def test_large_answers_are_not_read_all_at_once(ledger: Ledger) -> None:
    ids = sorted(accepted(ledger, 3))
    ledger.end([ended(one) for one in ledger.claim(ids, 60).claimed])
    assert len(ledger.with_answers("ann", ids, max_bytes=130)) == 2
    assert len(ledger.with_answers("ann", ids, max_bytes=1)) == 1
    assert len(ledger.with_answers("ann", ids)) == 3
