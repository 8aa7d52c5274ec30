"""The queue is bounded, whenever the ledger counts."""

import pytest

from ai102.jobs.quota import Bounds, FullError, Quota


def quota() -> Quota:
    return Quota(Bounds(max_waiting=10, max_waiting_per_owner=4), None)


def is_full(quota: Quota, owner: str, count: int) -> bool:
    try:
        with quota.taken(owner, count):
            return False
    except FullError:
        return True


def test_an_owner_and_all_together_have_bounds() -> None:
    made = quota()
    assert not is_full(made, "ann", 4)
    assert is_full(made, "ann", 1)
    assert not is_full(made, "bob", 4)
    assert is_full(made, "cat", 3)
    assert not is_full(made, "cat", 2)


def test_what_was_done_makes_room_when_the_ledger_has_counted() -> None:
    made = quota()
    assert not is_full(made, "ann", 4)
    made.begin_count()
    made.counted({"ann": 1})
    assert not is_full(made, "ann", 3)
    assert is_full(made, "ann", 1)


def test_what_is_not_written_when_the_ledger_counts_is_not_forgotten() -> None:
    made = quota()
    with made.taken("ann", 4):
        made.begin_count()
        made.counted({})
        assert is_full(made, "ann", 1)
    assert is_full(made, "ann", 1)


def test_what_is_taken_while_the_ledger_counts_is_not_forgotten() -> None:
    made = quota()
    made.begin_count()
    assert not is_full(made, "ann", 4)
    made.counted({})
    assert is_full(made, "ann", 1)


def test_the_reason_names_what_is_full() -> None:
    made = quota()
    with made.taken("ann", 4), pytest.raises(FullError, match="4 of your jobs are waiting"), made.taken("ann", 1):
        pass
