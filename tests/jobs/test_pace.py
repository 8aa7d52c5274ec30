"""Direct calls go first, and jobs at full speed where there are none."""

from ai102.client import AsyncClient
from ai102.jobs.worker.pace import Manners, Pace

STEPS = {"classify_image_steps": {"digits_decode", "digits_int8"}}


class Made:
    """A pace whose clock stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0
        client = AsyncClient("grpc://127.0.0.1:1", shared_memory=False)
        self.pace = Pace(client, STEPS, Manners(slice_s=0.001, share=0.25, remembered_s=5.0), lambda: self.now)
        self.counts = {"digits_int8": 1000, "digits_decode": 500, "classify_image_steps": 50, "embed_text": 7}
        self.pace.counted(self.counts)

    def look(self, **more: int) -> bool:
        """Whether jobs are polite after so many more requests in Triton's counts."""
        self.now += 0.1
        self.counts = {model: count + more.get(model, 0) for model, count in self.counts.items()}
        self.pace.counted(self.counts)
        return self.pace.is_polite

    def job(self, model: str, took_s: float = 0.0) -> float:
        self.pace.begins(model)
        return self.pace.ended(model, took_s)


def test_without_direct_calls_batches_are_full_and_nothing_pauses() -> None:
    made = Made()
    assert made.look() is False
    assert made.pace.largest("digits_int8", 64) == 64
    assert made.job("digits_int8", 0.5) == 0.0


def test_own_calls_are_not_taken_for_direct_ones() -> None:
    made = Made()
    for _ in range(3):
        made.job("digits_int8")
    assert made.look(digits_int8=3) is False


def test_a_call_that_ended_only_in_triton_is_an_own_one() -> None:
    made = Made()
    made.pace.begins("digits_int8")
    assert made.look(digits_int8=1) is False
    made.pace.ended("digits_int8", 0.0)
    assert made.look(digits_int8=0) is False


def test_the_steps_of_an_own_call_are_not_taken_for_direct_calls() -> None:
    made = Made()
    made.job("classify_image_steps")
    assert made.look(classify_image_steps=1, digits_decode=1, digits_int8=1) is False


def test_a_direct_call_to_any_model_makes_jobs_polite_for_a_while() -> None:
    made = Made()
    made.job("digits_int8")
    assert made.look(digits_int8=1, embed_text=1) is True
    made.now += 4.8
    assert made.pace.is_polite is True
    made.now += 0.3
    assert made.pace.is_polite is False


def test_polite_calls_become_as_large_as_a_slice_allows_and_leave_pauses() -> None:
    made = Made()
    made.look(digits_int8=1)
    assert made.pace.largest("digits_int8", 64) == 1
    assert made.job("digits_int8", 0.0004) == 0.0004 * 3
    assert made.pace.largest("digits_int8", 64) == 2
    made.job("digits_int8", 0.0007)
    assert made.pace.largest("digits_int8", 64) == 2
    made.job("digits_int8", 0.0011)
    assert made.pace.largest("digits_int8", 64) == 1
    assert made.pace.largest("embed_text", 0) == 0


def test_counts_of_a_server_that_was_started_anew_are_not_direct_calls() -> None:
    made = Made()
    made.counts = dict.fromkeys(made.counts, 0)
    assert made.look() is False
