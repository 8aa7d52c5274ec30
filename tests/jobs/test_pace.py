"""Direct calls go first, and jobs at full speed where there are none."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from ai102.jobs.worker.direct import OfGateway, OfTriton, Unseen, addresses_of
from ai102.jobs.worker.pace import Manners, Pace

STEPS = {"classify_image_steps": {"digits_decode", "digits_int8"}}


class Counted:
    """Triton's counts, with a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0
        self.direct = OfTriton([], STEPS, lambda: self.now, 0.3)
        self.counts = {"digits_int8": 1000, "digits_decode": 500, "classify_image_steps": 50, "embed_text": 7}
        self.ended: Counter[str] = Counter()
        self.direct.more(self.counts, self.ended)

    def sees(self, during: Callable[[], None] = lambda: None, **more: int) -> bool:
        """Whether direct calls are seen after so many more requests in the counts; `during` happens while they come."""
        self.now += 0.1
        self.counts = {model: count + more.get(model, 0) for model, count in self.counts.items()}
        ended = self.ended.copy()
        during()
        return self.direct.more(self.counts, ended)

    def begins(self, model: str) -> None:
        self.direct.begins(model)

    def ends(self, model: str) -> None:
        self.direct.ended(model)
        self.ended[model] += 1

    def job(self, model: str) -> None:
        self.begins(model)
        self.ends(model)


def test_own_calls_are_not_taken_for_direct_ones() -> None:
    made = Counted()
    for _ in range(3):
        made.job("digits_int8")
    assert made.sees(digits_int8=3) is False


def test_a_call_that_ended_only_in_triton_is_an_own_one() -> None:
    made = Counted()
    made.begins("digits_int8")
    assert made.sees(digits_int8=1) is False
    made.ends("digits_int8")
    assert made.sees(digits_int8=0) is False


def test_a_call_that_ended_while_the_counts_came_is_an_own_one() -> None:
    """It is in the next counts, and not in these."""
    made = Counted()
    made.begins("digits_int8")
    assert made.sees(lambda: made.ends("digits_int8")) is False
    assert made.sees(digits_int8=1) is False


def test_a_call_that_began_and_ended_while_the_counts_came_is_an_own_one() -> None:
    made = Counted()
    assert made.sees(lambda: made.job("digits_int8"), digits_int8=1) is False
    assert made.sees(lambda: made.job("digits_int8")) is False
    assert made.sees(digits_int8=1) is False


def test_a_direct_call_among_own_ones_is_seen_by_the_second_at_the_latest() -> None:
    made = Counted()
    made.begins("digits_int8")
    seen = [made.sees(digits_int8=1) for _ in range(4)]
    assert seen == [False, True, False, True]  # of two, one may be the one under way


def test_the_steps_of_an_own_call_are_not_taken_for_direct_calls() -> None:
    made = Counted()
    made.job("classify_image_steps")
    assert made.sees(classify_image_steps=1, digits_decode=1, digits_int8=1) is False


def test_a_direct_call_to_any_model_is_seen() -> None:
    made = Counted()
    made.job("digits_int8")
    assert made.sees(digits_int8=1, embed_text=1) is True
    assert made.sees() is False


def test_counts_of_a_server_that_was_started_anew_are_not_direct_calls() -> None:
    made = Counted()
    made.counts = dict.fromkeys(made.counts, 0)
    assert made.sees() is False


@contextmanager
def exposing(*bodies: str) -> Iterator[str]:
    """A gateway's metrics: each body in turn, the last one again and again; an empty one is an error."""
    left = list(bodies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(200 if body else 503)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def metrics(images: int, other: int) -> str:
    name = "ai102_gateway_requests_total"
    return (
        f"# TYPE {name} counter\n"
        f'{name}{{pipeline="classify_image",outcome="ok"}} {images}\n{name}{{pipeline="other",outcome="ok"}} {other}\n'
    )


def looks(url: str, count: int, said: list[str]) -> Sequence[bool]:
    async def go() -> list[bool]:
        direct = OfGateway(url, said.append)
        return [await direct.seen() for _ in range(count)]

    return asyncio.run(go())


def test_a_gateway_tells_inferences_from_all_else() -> None:
    with exposing(metrics(5, 1), metrics(5, 9), metrics(6, 9), metrics(6, 9)) as url:
        assert looks(url, 4, []) == [False, False, True, False]


def test_a_name_may_stand_for_several_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        exposing(metrics(5, 1), metrics(5, 1), metrics(5, 1)) as one,
        exposing(metrics(9, 1), metrics(10, 1), metrics(10, 1)) as other,
    ):
        monkeypatch.setattr("ai102.jobs.worker.direct.addresses_of", lambda url: [one, other])
        assert looks("http://gateways:8405/metrics", 3, []) == [False, True, False]


def test_the_addresses_of_a_name_are_asked_and_a_name_without_any_is_one_line() -> None:
    assert "http://127.0.0.1:8405/metrics" in addresses_of("http://localhost:8405/metrics")
    assert looks("http://gateway.invalid:8405/metrics", 2, said := []) == [True, True]
    assert len(said) == 1


def test_while_a_gateway_does_not_answer_direct_calls_are_taken_to_be_there() -> None:
    said: list[str] = []
    with exposing(metrics(5, 1), "", "", metrics(5, 1)) as url:
        assert looks(url, 4, said) == [False, True, True, False]
    assert len(said) == 1


class Asked(Unseen):
    """Says what it is made to say."""

    is_seen = False

    async def seen(self) -> bool:
        return self.is_seen


def paced(is_seen: bool) -> tuple[Pace, list[float]]:
    """A pace that has looked once, and its clock."""
    now, direct = [100.0], Asked()
    direct.is_seen = is_seen
    pace = Pace(direct, Manners(slice_s=0.001, share=0.25, remembered_s=5.0), lambda: now[0])

    async def look() -> None:
        looking = asyncio.create_task(pace.look())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)

    asyncio.run(look())
    return pace, now


def test_without_direct_calls_batches_are_full_and_nothing_pauses() -> None:
    pace, _ = paced(False)
    assert (pace.is_polite, pace.largest("digits_int8", 64), pace.ended("digits_int8", 0.5)) == (False, 64, 0.0)


def test_direct_calls_are_remembered_for_a_while() -> None:
    pace, now = paced(True)
    assert pace.is_polite
    now[0] += 4.9
    assert pace.is_polite
    now[0] += 0.2
    assert not pace.is_polite


def test_polite_calls_become_as_large_as_a_slice_allows_and_leave_pauses() -> None:
    pace, _ = paced(True)
    assert pace.largest("digits_int8", 64) == 1
    assert pace.ended("digits_int8", 0.0004) == 0.0004 * 3
    assert pace.largest("digits_int8", 64) == 2
    pace.ended("digits_int8", 0.0007)
    assert pace.largest("digits_int8", 64) == 2
    pace.ended("digits_int8", 0.0011)
    assert pace.largest("digits_int8", 64) == 1
    assert pace.largest("embed_text", 0) == 0
