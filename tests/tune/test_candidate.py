"""Which values are tried, and how the chosen values are written."""

import json
import re
from pathlib import Path

import pytest

from ai102 import contract
from ai102.errors import UserError
from ai102.tune.candidate import Candidate, along, candidate_of, choices_for, is_allowed, network_with
from ai102.tune.capacity import merged
from ai102.tune.contract_file import with_candidate
from ai102.tune.cores import shared_out
from ai102.tune.run import Wish
from ai102.tune.subject import Subject, subject_of

ROOT = Path(__file__).parent.parent.parent
TEXT = re.sub(r"(?<=max_queue_delay_us = )\d+", "500", (ROOT / "tests" / "reference.toml").read_text(encoding="utf-8"))
CONTRACT = contract.contract_from_text(TEXT, ROOT / "models.toml")
DIGITS = CONTRACT.networks["digits"]


def test_choices_are_powers_of_two_within_machine_and_goal() -> None:
    choices = choices_for(DIGITS, goal_ms=4, server_cores=2, largest_batch=12)
    assert choices.max_batch_size == (1, 2, 4, 8, 12)
    assert choices.max_queue_delay_us == (0, 100, 500, 1000)  # a quarter of the goal
    assert (choices.instances, choices.threads, choices.most_busy_threads) == ((1, 2, 4), (1, 2), 4)


def test_more_busy_threads_than_the_machine_supports_are_not_tried_unless_given() -> None:
    best = Candidate(8, 0, (), 4, 1)
    assert along("threads", best, choices_for(DIGITS, 20, 2)) == []
    given_choices = choices_for(DIGITS, 20, 2, instances=(4,), threads=(1, 8))
    assert [one.threads for one in along("threads", best, given_choices)] == [8]


def test_preferred_sizes_are_tried_only_with_a_delay_and_removed_with_it() -> None:
    choices = choices_for(DIGITS, 20, 1)
    waiting = Candidate(8, 500, (4,), 1, 1)
    assert [one.preferred_batch_sizes for one in along("preferred_batch_sizes", waiting, choices)] == [(), (2,)]
    assert along("preferred_batch_sizes", Candidate(8, 0, (), 1, 1), choices) == []
    assert {one.preferred_batch_sizes for one in along("max_queue_delay_us", waiting, choices)} == {(), (4,)}


def test_a_smaller_batch_shrinks_the_warm_up_with_it() -> None:
    changed = network_with(DIGITS, Candidate(8, 0, (), 2, 1))
    assert (candidate_of(changed), changed.warmup and changed.warmup.batch_sizes) == (Candidate(8, 0, (), 2, 1), (1, 8))


def test_what_the_contract_forbids_is_not_tried() -> None:
    tied = DIGITS.model_copy(update={"tensorrt": DIGITS.tensorrt.model_copy(update={"opt_batch_size": 16})})
    sizes = [8, 16, 32]
    assert [is_allowed(tied, Candidate(size, 0, (), 1, 1)) for size in sizes] == [False, True, True]


def test_a_candidate_is_written_with_every_comment_kept() -> None:
    after = with_candidate(TEXT, "digits", DIGITS, Candidate(16, 1000, (8,), 2, 1))
    before, now = TEXT.splitlines(), after.splitlines()
    changed = [(old, new) for old, new in zip(before, now, strict=True) if old != new]
    assert changed == [
        (
            "batching = { max_batch_size = 64, max_queue_delay_us = 500 }",
            "batching = { max_batch_size = 16, max_queue_delay_us = 1000, preferred_batch_sizes = [8] }",
        ),
        (
            "warmup = { batch_sizes = [1, 64] }            # with real images, before the network is ready",
            "warmup = { batch_sizes = [1, 16] }            # with real images, before the network is ready",
        ),
        ("instances = { count = 1, threads = 1 }", "instances = { count = 2, threads = 1 }"),
    ]
    network = contract.contract_from_text(after, Path("models.toml")).networks["digits"]
    assert candidate_of(network) == Candidate(16, 1000, (8,), 2, 1)


@pytest.mark.parametrize(
    ("before", "after", "written"),
    [
        (", max_queue_delay_us = 500 }", " }", "batching = { max_batch_size = 64, max_queue_delay_us = 100 }"),
        ("instances = { count = 1, threads = 1 }\n", "", "instances = { count = 2 }"),
        (
            "batching = { max_batch_size = 64, max_queue_delay_us = 500 }\n",
            "batching.max_batch_size = 64\n",
            "batching.max_queue_delay_us = 100",
        ),
    ],
)
def test_missing_keys_are_added(before: str, after: str, written: str) -> None:
    text = TEXT.replace(before, after, 1)
    network = contract.contract_from_text(text, Path("models.toml")).networks["digits"]
    candidate = Candidate(64, 100, (), 2, 1)
    text = with_candidate(text, "digits", network, candidate)
    assert written in text
    assert candidate_of(contract.contract_from_text(text, Path("models.toml")).networks["digits"]) == candidate


def test_a_separate_table_keeps_its_lines() -> None:
    text = TEXT.replace("batching = { max_batch_size = 64, max_queue_delay_us = 500 }\n", "", 1)
    text += "\n[networks.digits.batching]\nmax_batch_size = 64   # measured\nqueue = { max_size = 128 }\n"
    network = contract.contract_from_text(text, Path("models.toml")).networks["digits"]
    after = with_candidate(text, "digits", network, Candidate(8, 0, (), 1, 1))
    assert "[networks.digits.batching]\nmax_batch_size = 8   # measured\nqueue = { max_size = 128 }\n" in after


def test_no_delay_is_written_as_no_key() -> None:
    after = with_candidate(TEXT, "digits", DIGITS, Candidate(64, 0, (), 1, 1))
    assert "batching = { max_batch_size = 64 }" in after


def test_the_subject_of_a_network_is_its_served_model_and_of_an_ensemble_the_inner_one() -> None:
    assert [subject_of(CONTRACT, name) for name in ("digits", "digits_fp32", "classify_image")] == [
        Subject("digits_int8", "digits", "digits_int8", ()),
        Subject("digits_fp32", "digits", "digits_fp32", ()),
        Subject("classify_image", "digits", "digits_int8", ("digits_decode", "digits_label")),
    ]


@pytest.mark.parametrize("name", ["nope", "digits_decode"])
def test_an_untunable_name_is_refused_with_the_tunable_ones(name: str) -> None:
    with pytest.raises(UserError, match="there are digits, minilm, classify_image"):
        subject_of(CONTRACT, name)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"p99_ms": 0}, "--p99-ms is 0"),
        ({"p99_ms": float("nan")}, "--p99-ms is nan"),
        ({"seconds": -1}, "--seconds is -1"),
        ({"budget_minutes": 0}, "--budget-minutes is 0"),
        ({"largest_batch": 0}, "--max-batch-size is 0"),
        ({"instances": (1, 0)}, "--instances is 0"),
    ],
)
def test_an_option_that_is_not_positive_is_refused(wish: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=f"{message}: write a number above 0"):
        Wish(**wish)  # type: ignore[arg-type]


def test_capacity_of_other_models_stays() -> None:
    first = merged("", Path("capacity.json"), "b", {"rate": 1})
    second = merged(first, Path("capacity.json"), "a", {"rate": 2})
    assert json.loads(second)["models"] == {"a": {"rate": 2}, "b": {"rate": 1}}
    assert list(json.loads(second)["models"]) == ["a", "b"]


@pytest.mark.parametrize("text", ["{", "[]", '{"models": 3}'])
def test_a_file_of_another_format_is_not_overwritten(text: str) -> None:
    with pytest.raises(UserError, match=r"capacity\.json: not what `ai102 tune` writes"):
        merged(text, Path("capacity.json"), "a", {})


def test_the_client_gets_its_own_core_if_there_are_two() -> None:
    shared = [shared_out(range(count)) for count in (1, 2, 4, 8)]
    assert [(len(one.server), len(one.client), one.are_apart) for one in shared] == [
        (1, 1, False),
        (1, 1, True),
        (3, 1, True),
        (6, 2, True),
    ]
