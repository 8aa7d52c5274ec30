"""A job is a part of its caller's trace."""

from ai102.jobs.job import Claimed, Ended, Priority, State
from ai102.jobs.worker.spans import spans_of, traced_of, traceparent_of
from ai102.tracing.spans import Span
from tests.jobs.new import digit

TRACE, CALLER = "a" * 32, "b" * 16
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"


def claimed(id: str, traceparent: str) -> Claimed:
    return Claimed(id, "digits_int8", digit(), Priority.NORMAL, 1, 1, 100.0, 100.0, traceparent)


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


def test_only_jobs_of_sampled_traces_leave_spans() -> None:
    batch = [claimed("a", ""), claimed("b", NOT_SAMPLED), claimed("c", SAMPLED), claimed("d", "nonsense")]
    assert [traced.job.id for traced in traced_of(batch)] == ["c"]
    assert traceparent_of(traced_of(batch[:2])) == ""


def test_wait_and_work_lie_in_the_job_and_the_job_in_the_callers_span() -> None:
    traced = traced_of([claimed("a", SAMPLED)])
    ended = {"a": Ended("a", 1, State.SUCCEEDED, digit())}
    spans = by_name(spans_of(traced, ended, 103.0, 103.5, 64))
    whole, wait, work = spans["job digits_int8"], spans["job wait"], spans["job work"]
    assert {span.trace_id for span in spans.values()} == {TRACE}
    assert (whole.parent_id, wait.parent_id, work.parent_id) == (CALLER, whole.span_id, whole.span_id)
    assert (whole.began_ns, whole.ended_ns) == (100_000_000_000, 103_500_000_000)
    assert (wait.ended_ns, work.began_ns) == (103_000_000_000, 103_000_000_000)
    assert (work.attributes["ai102.job.batch"], whole.attributes["ai102.job.state"]) == (64, "succeeded")
    # Triton's own spans are children of the work.
    assert traceparent_of(traced) == f"00-{TRACE}-{work.span_id}-01"


def test_an_attempt_that_ended_nothing_is_a_failed_part_of_the_callers_span() -> None:
    (span,) = spans_of(traced_of([claimed("a", SAMPLED)]), {}, 103.0, 103.5, 1)
    assert (span.name, span.parent_id, span.error) == ("job work", CALLER, "tried again")
