"""Which jobs go together."""

from collections.abc import Sequence

from ai102.jobs.item import Item
from ai102.jobs.job import Claimed, Priority
from ai102.jobs.worker.batches import Batches
from tests.jobs.new import digit, text

SIZES = {"digits_int8": 4, "embed_text": 2, "alone": 0}


def claimed(id: str, model: str = "digits_int8", item: Item | None = None, attempts: int = 1) -> Claimed:
    return Claimed(id, model, item or digit(), Priority.NORMAL, 1, attempts, 0.0, 0.0, "")


def ids(jobs: Sequence[Claimed]) -> str:
    return "".join(job.id for job in jobs)


def batches(*jobs: Claimed) -> Batches:
    made = Batches(lambda model: SIZES.get(model, 0), 300)
    made.add(jobs)
    return made


def test_a_full_batch_goes_at_once_and_a_part_waits_for_more() -> None:
    made = batches(*(claimed(id) for id in "abcdef"))
    assert ids(made.take(is_last=False)) == "abcd"
    assert ids(made.take(is_last=False)) == ""
    assert ids(made.take(is_last=True)) == "ef"
    assert ids(made.take(is_last=True)) == ""


def test_only_jobs_of_one_model_and_form_go_together() -> None:
    made = batches(claimed("a"), claimed("b", "embed_text", text("x")), claimed("c"), claimed("d", item=text("y")))
    assert [ids(made.take(is_last=True)) for _ in range(4)] == ["ac", "b", "d", ""]


def test_models_take_turns() -> None:
    made = batches(*(claimed(id) for id in "abcdefgh"), *(claimed(id, "embed_text", text(id)) for id in "xyz"))
    assert [ids(made.take(is_last=True)) for _ in range(4)] == ["abcd", "xy", "efgh", "z"]


def test_a_job_that_was_tried_before_goes_alone_and_behind_full_batches() -> None:
    made = batches(claimed("p", attempts=2), *(claimed(id) for id in "abcde"))
    assert [ids(made.take(is_last=True)) for _ in range(3)] == ["abcd", "p", "e"]


def test_a_model_without_batches_is_asked_for_one_item_at_a_time() -> None:
    made = batches(claimed("a", "alone"), claimed("b", "alone"), claimed("c", "unknown"))
    assert [ids(made.take(is_last=False)) for _ in range(3)] == ["a", "c", "b"]


def test_large_items_go_in_smaller_calls_and_one_that_is_too_large_alone() -> None:
    large = [claimed(id, "embed_text", text("x" * 140)) for id in "abc"]
    made = batches(*large, claimed("d", "embed_text", text("x" * 900)))
    assert [ids(made.take(is_last=False)) for _ in range(4)] == ["ab", "c", "d", ""]
    made = batches(*(claimed(id, "digits_int8", text("x" * 200)) for id in "ab"))
    assert [ids(made.take(is_last=False)) for _ in range(3)] == ["a", "", ""]
    assert ids(made.take(is_last=True)) == "b"
