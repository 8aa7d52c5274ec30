"""What either client does before the real API."""

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from ai102.client import (
    BadRequestError,
    DeadlineError,
    InferenceError,
    JobFailedError,
    JobNotFoundError,
    JobRefusedError,
    ModelNotFoundError,
    NoServerError,
    WrongProtocolError,
)
from ai102.errors import UserError
from ai102.jobs.item import arrays_from_item
from ai102.jobs.job import Claimed, Ended, State
from tests.jobs.faulty import faulty, say
from tests.jobs.served import LEASE_S, JobsApi, failed, label, succeeded, work, working

pytestmark = pytest.mark.slow
PIXELS = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
IN_TIME_S = 60.0
NOBODYS = "00000000-0000-7000-8000-000000000000"


def claimed(api: JobsApi, id: str) -> Claimed:
    (one,) = api.ledger.claim([id], LEASE_S).claimed
    return one


ITEMS: Mapping[str, tuple[str, Any, Any]] = {
    "an image": ("classify_image", b"\x89PNG", {"image": [b"\x89PNG"]}),
    "a text": ("embed_text", "Grüße", {"text": ["Grüße".encode()]}),
    "arrays": ("digits_int8", {"pixels": PIXELS}, {"pixels": PIXELS[0].tolist()}),
}


@pytest.mark.parametrize(("model", "item", "arrays"), ITEMS.values(), ids=ITEMS)
def test_an_item_reaches_the_ledger_as_the_model_takes_it(
    connect: Any, api: JobsApi, model: str, item: Any, arrays: Any
) -> None:
    with connect(api.url) as jobs:
        one = claimed(api, jobs.submit(model, item))
    assert (one.model, {name: a.tolist() for name, a in arrays_from_item(one.item).items()}) == (model, arrays)


def test_a_result_has_the_outputs_as_arrays(connect: Any, api: JobsApi) -> None:
    with connect(api.url) as jobs:
        id = jobs.submit("classify_image", b"image")
        api.ledger.end([succeeded(claimed(api, id))])
        result = jobs.result(id, IN_TIME_S)
    assert (result.id, result.state, result.error) == (id, "succeeded", "")
    assert {name: (array.dtype, array.shape) for name, array in result.outputs.items()} == {
        "label": (np.dtype(object), (1,)),
        "score": (np.dtype(np.float32), (1,)),
        "scores": (np.dtype(np.float32), (3,)),
    }
    assert result.outputs["label"].tolist() == [b"seven"]
    assert np.array_equal(result.outputs["scores"], [0.25, 0.75, np.nan], equal_nan=True)


def test_a_result_is_waited_for(connect: Any, api: JobsApi) -> None:
    with connect(api.url) as jobs, working(api.ledger):
        assert jobs.result(jobs.submit("classify_image", b"image"), IN_TIME_S).state == "succeeded"


def test_options_of_a_job_reach_the_server(connect: Any, api: JobsApi) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    with connect(api.url) as jobs:
        id = jobs.submit("classify_image", b"image", key=f"k-{connect}", priority="low", not_after=until)
        status = jobs.get(id)
        assert jobs.submit("classify_image", b"image", key=f"k-{connect}") == id
    assert (status.id, status.state, status.model, status.priority) == (id, "queued", "classify_image", "low")
    assert (status.key, status.not_after, status.ended, status.error) == (f"k-{connect}", until, None, "")


def test_jobs_are_listed_the_newest_first_and_cancelled(connect: Any, api: JobsApi) -> None:
    with connect(api.url) as jobs:
        first, second = jobs.submit_many("classify_image", [b"1", b"2"])
        newest = jobs.list(limit=1)
        assert [newest[0].id, jobs.list(before=newest[0].id, limit=1)[0].id] == sorted([first, second], reverse=True)
        assert jobs.cancel(first).state == "cancelled"
        assert jobs.list(state="cancelled", limit=1)[0].id == first


def test_many_items_have_their_ids_in_order(connect: Any, api: JobsApi) -> None:
    items = [b"%d" % number for number in range(2500)]
    with connect(api.url) as jobs:
        ids = jobs.submit_many("classify_image", iter(items))
        assert len(set(ids)) == 2500
        for place in (0, 999, 1000, 2499):
            assert arrays_from_item(claimed(api, ids[place]).item)["image"].tolist() == [items[place]]


def test_refused_items_keep_no_others_from_being_handed_in(connect: Any, api: JobsApi) -> None:
    with connect(api.url) as jobs, pytest.raises(JobRefusedError) as refused:
        jobs.submit_many("classify_image", [b"a", b"", "text", {"pixels": PIXELS}])
    err = refused.value
    assert str(err) == "classify_image: item 1 of 4: data: Send a string that is not empty. (2 items are refused)"
    assert (err.position, err.refusals[3]) == (1, "inputs: classify_image takes image.")
    assert [bool(id) for id in err.ids] == [True, False, True, False]
    assert claimed(api, err.ids[2]).model == "classify_image"


STATES: Mapping[str, tuple[Callable[[JobsApi, str], Any], str]] = {
    "failed": (
        lambda api, id: api.ledger.end([failed(claimed(api, id))]),
        "failed: The image is truncated or corrupt.",
    ),
    "cancelled": (lambda api, id: api.ledger.cancel("", id), "cancelled"),
    "dead": (
        lambda api, id: [api.ledger.give_back([claimed(api, id)], "", is_attempt=True) for _ in range(5)],
        "dead: The model server failed at it again and again.",
    ),
}


@pytest.mark.parametrize(("end", "words"), STATES.values(), ids=STATES)
def test_a_job_without_outputs_is_an_error_with_its_result(
    connect: Any, api: JobsApi, end: Callable[[JobsApi, str], Any], words: str
) -> None:
    with connect(api.url) as jobs:
        id = jobs.submit("classify_image", b"image")
        end(api, id)
        with pytest.raises(JobFailedError) as failure:
            jobs.result(id, IN_TIME_S)
        state = words.partition(":")[0]
        assert (failure.value.result.id, failure.value.result.state) == (id, state)
        assert str(failure.value) == f"job {id} is {words}"
        assert [result.state for result in jobs.as_completed([id], IN_TIME_S)] == [state]


def test_a_job_that_nobody_does_is_late_with_its_state(connect: Any, api: JobsApi) -> None:
    with connect(api.url) as jobs:
        id = jobs.submit("classify_image", b"image")
        with pytest.raises(DeadlineError, match=rf"job {id} has not ended \(queued\) within 1 s"):
            jobs.result(id, 1.0)
        with pytest.raises(DeadlineError, match="1 jobs have not ended within 1 s"):
            list(jobs.as_completed([id], 1.0))


def test_three_thousand_jobs_are_collected_each_once(connect: Any, api: JobsApi) -> None:
    def one_in_a_hundred_fails(job: Claimed) -> Ended:
        return failed(job) if arrays_from_item(job.item)["image"][0].endswith(b"00") else succeeded(job)

    with connect(api.url) as jobs:
        ids = jobs.submit_many("classify_image", (b"item %04d" % number for number in range(3000)))
        with working(api.ledger, one_in_a_hundred_fails):
            results = list(jobs.as_completed([*ids, NOBODYS], IN_TIME_S))
    assert sorted(result.id for result in results) == sorted([*ids, NOBODYS])
    counts = {state: sum(result.state == state for result in results) for state in ("succeeded", "failed", "gone")}
    assert counts == {"succeeded": 2970, "failed": 30, "gone": 1}
    assert all((set(one.outputs) == {"label", "score", "scores"}) == (one.state == "succeeded") for one in results)


def test_results_come_while_other_jobs_wait(connect: Any, api: JobsApi) -> None:
    with connect(api.url) as jobs:
        ids = jobs.submit_many("classify_image", [b"1", b"2"])
        api.ledger.end([succeeded(claimed(api, ids[1]))])
        results = jobs.as_completed(ids, IN_TIME_S)
        assert next(results).id == ids[1]
        api.ledger.end([Ended(ids[0], claimed(api, ids[0]).claim, State.SUCCEEDED, label("two"))])
        assert next(results).outputs["label"].tolist() == [b"two"]
        assert next(results, None) is None


MISTAKES: Mapping[str, tuple[type[InferenceError], str, Callable[[Any], Any]]] = {
    "no such model": (
        ModelNotFoundError,
        "nonsense: There is no such model.",
        lambda jobs: jobs.submit("nonsense", b"image"),
    ),
    "no such job": (JobNotFoundError, f"job {NOBODYS}: You have no such", lambda jobs: jobs.get(NOBODYS)),
    "no such job to wait for": (JobNotFoundError, "You have no such job", lambda jobs: jobs.result(NOBODYS)),
    "no such job to cancel": (JobNotFoundError, "You have no such job", lambda jobs: jobs.cancel(NOBODYS)),
    "an unknown priority": (
        JobRefusedError,
        "priority: Send high, normal, low.",
        lambda jobs: jobs.submit("classify_image", b"image", priority="urgent"),
    ),
    "a time without a zone": (
        BadRequestError,
        "has no time zone",
        lambda jobs: jobs.submit("classify_image", b"image", not_after=datetime(2030, 1, 1)),
    ),
    "two rows": (
        JobRefusedError,
        "a job is one row",
        lambda jobs: jobs.submit("digits_int8", {"pixels": np.concatenate([PIXELS, PIXELS])}),
    ),
    "no kind of item": (BadRequestError, "not int", lambda jobs: jobs.submit("digits_int8", 7)),
    "an unknown state": (BadRequestError, "state", lambda jobs: jobs.list(state="lost")),
    "a key of another item": (
        JobRefusedError,
        "The key belongs to an earlier job",
        lambda jobs: [jobs.submit("classify_image", item, key="one key") for item in (b"1", b"2")],
    ),
}


@pytest.mark.parametrize(("kind", "words", "call"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_has_its_class_and_one_line(
    connect: Any, api: JobsApi, kind: type[InferenceError], words: str, call: Callable[[Any], Any]
) -> None:
    with connect(api.url) as jobs, pytest.raises(kind) as caught:
        call(jobs)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


SERVERS = {
    "an API without jobs": (404, {"detail": "There is nothing at this address."}, WrongProtocolError, "takes no jobs"),
    "a web site": (404, b"<html>not here</html>", WrongProtocolError, "takes no jobs (HTTP 404)"),
    "a redirection": (302, b"", WrongProtocolError, "takes no jobs (HTTP 302)"),
    "another API": (200, b"hello", InferenceError, "the answer is not the API's"),
    "another API in JSON": (200, {"jobs": 7}, InferenceError, "not as the API writes it"),
    "no token": (401, {"detail": "A token is missing."}, InferenceError, "get a token"),
    "too large for the gateway": (413, {"detail": "The body is larger."}, InferenceError, "send fewer rows"),
    "a defect": (500, {"detail": "Something went wrong here."}, InferenceError, "Something went wrong here."),
}


@pytest.mark.parametrize(("status", "document", "kind", "words"), SERVERS.values(), ids=SERVERS)
def test_another_server_is_told_apart(
    connect: Any, status: int, document: Any, kind: type[InferenceError], words: str
) -> None:
    with faulty("http://127.0.0.1:9") as proxy, connect(proxy.url) as jobs:
        proxy.faults = [("GET /v1/jobs", say(status, document))]
        with pytest.raises(kind) as caught:
            jobs.list()
        assert words in str(caught.value)
        assert len(proxy.requests) == 1


ADDRESSES = {
    "nobody listens": ("http://127.0.0.1:9", NoServerError, "no API answers (Connection refused); start one with"),
    "no such host": ("http://nowhere.invalid:8090", NoServerError, "no API answers ("),
    "gRPC": ("grpc://127.0.0.1:8001", UserError, "no address of the API: write http://HOST:PORT"),
    "no port": ("http://127.0.0.1", UserError, "no HOST:PORT"),
    "no scheme": ("127.0.0.1:8090", UserError, "no address of the API"),
}


@pytest.mark.parametrize(("url", "kind", "words"), ADDRESSES.values(), ids=ADDRESSES)
def test_a_wrong_address_is_one_line(connect: Any, url: str, kind: type[UserError], words: str) -> None:
    with pytest.raises(kind) as caught, connect(url, timeout_s=20.0) as jobs:
        jobs.list()
    assert words in str(caught.value)


def test_a_closed_client_says_so(connect: Any, api: JobsApi) -> None:
    with connect(api.url) as jobs:
        jobs.list(limit=1)
        jobs.close()
        with pytest.raises(RuntimeError, match="this client is closed"):
            jobs.list()


def test_without_httpx_one_line_says_what_to_install(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(UserError, match=r"pip install 'ai102\[jobs\]'"):
        connect("http://127.0.0.1:9")


def test_the_worker_of_these_tests_ends_what_waits(api: JobsApi) -> None:
    while work(api.ledger):
        pass
    assert api.ledger.count_by_state()[State.QUEUED] == 0
