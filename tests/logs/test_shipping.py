"""The shipper: every line arrives once, whatever the index answers, and what arrived leaves the spool."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ai102.errors import UserError
from ai102.logs.follow.spool import segment_path, segments
from ai102.logs.ship import retention, shipper
from ai102.logs.ship.index import Index, RefusedError
from ai102.logs.ship.reading import Place, Reader
from ai102.logs.ship.shipper import Shipper
from tests.gateway.conftest import wait_until
from tests.logs.stand_in_index import Answer, StandIn, accepted, item, serving
from tests.ports import free_port

DAY = "2026-11-28"


def spooled(number: int, day: str = DAY) -> dict[str, Any]:
    return {
        "@timestamp": f"{day}T10:00:00.000000Z",
        "message": f"line {number}",
        "event": {"id": f"feed-{number}", "dataset": "ai102.text"},
        "log": {"offset": number, "level": "info"},
    }


def fill(spool: Path, numbers: range, segment: int = 1) -> None:
    spool.mkdir(mode=0o700, exist_ok=True)
    with segment_path(spool, segment).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(spooled(number)) + "\n" for number in numbers)


class Shipping:
    """A shipper in a thread of its own, until the block ends."""

    def __init__(self, spool: Path, url: str) -> None:
        self.spool, self.url, self.said = spool, url, list[str]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Index(self.url) as index, Reader(self.spool) as reader:
            Shipper(reader, index, self.spool, self._stop, self.said.append).run(14)

    def __enter__(self) -> "Shipping":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipper, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(shipper, "IDLE_S", 0.01)
    monkeypatch.setattr(shipper, "BATCH_LINES", 100)


def ship_all(spool: Path, count: int, answer: Answer | None = None) -> StandIn:
    with serving(StandIn(answer)) as index, Shipping(spool, index.url):
        wait_until(lambda: len(index.stored) == count, f"{count} documents")
        newest = segments(spool)[-1]
        wait_until(lambda: checkpoint(spool) == [newest[0], newest[1].stat().st_size], "the checkpoint")
    return index


def checkpoint(spool: Path) -> list[int]:
    file = spool / "shipped.json"
    return list(json.loads(file.read_text(encoding="utf-8")).values()) if file.exists() else []


def test_every_line_arrives_and_old_files_go(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    fill(spool, range(250), 7)
    fill(spool, range(250, 300), 8)
    index = ship_all(spool, 300)
    assert index.stored["ai102-logs-2026.11.28", "feed-299"] == spooled(299)
    assert (index.received, [number for number, _ in segments(spool)]) == (300, [8])
    assert index.asked[0] == "PUT /_index_template/ai102-logs"


def test_a_restart_sends_only_what_is_new(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    fill(spool, range(150))
    ship_all(spool, 150)
    fill(spool, range(150, 160))
    assert ship_all(spool, 10).received == 10


def test_a_half_line_waits_for_its_end(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    fill(spool, range(3))
    line = json.dumps(spooled(3))
    with segment_path(spool, 1).open("a", encoding="utf-8") as file, serving(StandIn()) as index:
        file.write(line[:30])
        file.flush()
        with Shipping(spool, index.url):
            wait_until(lambda: len(index.stored) == 3, "three documents")
            file.write(line[30:] + "\n")
            file.flush()
            wait_until(lambda: len(index.stored) == 4, "the fourth")


def failing(times: int, status: int, body: Any) -> Answer:
    return lambda number, pairs: (status, body) if number < times else (200, accepted(pairs))


@pytest.mark.parametrize(
    "answer",
    [
        failing(3, 429, {"error": {"type": "circuit_breaking_exception", "reason": "too much"}}),
        failing(3, 503, "no JSON of theirs"),
        failing(2, 403, {"error": {"type": "cluster_block_exception", "reason": "disk usage exceeded flood-stage"}}),
        failing(2, 200, {"items": []}),
        lambda number, pairs: (200, {"items": [item(429, "busy") if number < 2 else item(201) for _ in pairs]}),
        lambda number, pairs: (
            200,
            {"items": [item(201 if (place + number) % 3 else 503) for place in range(len(pairs))]},
        ),
    ],
    ids=["429", "503", "403", "no items", "each 429", "some 503"],
)
def test_what_is_refused_for_now_is_sent_again(answer: Answer, tmp_path: Path) -> None:
    fill(tmp_path / "spool", range(120))

    def with_items(number: int, pairs: list[tuple[dict[str, Any], bytes]]) -> tuple[int, Any]:
        status, body = answer(number, pairs)
        return (500, body) if status == 200 and not body["items"] else (status, body)

    index = ship_all(tmp_path / "spool", 120, with_items)
    assert index.received == 120


def test_a_document_that_does_not_fit_arrives_as_text(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    fill(spool, range(3))

    def answer(number: int, pairs: list[tuple[dict[str, Any], bytes]]) -> tuple[int, Any]:
        refused = [b'"line 1"' in document and b"ai102.refused" not in document for _, document in pairs]
        return 200, {"items": [item(400, "failed to parse") if one else item(201) for one in refused]}

    index = ship_all(spool, 3, answer)
    reduced = index.stored["ai102-logs-2026.11.28", "feed-1"]
    assert reduced["event"]["dataset"] == "ai102.refused"
    assert json.loads(reduced["message"]) == spooled(1)
    assert reduced["error"]["message"] == "mapper_parsing_exception: failed to parse"


def test_what_fits_in_no_form_is_kept_on_the_disk_and_stops_nothing(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    fill(spool, range(5))

    def answer(number: int, pairs: list[tuple[dict[str, Any], bytes]]) -> tuple[int, Any]:
        return 200, {"items": [item(400, "no") if b"line 2" in document else item(201) for _, document in pairs]}

    ship_all(spool, 4, answer)
    left_out = (spool / "left-out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(json.loads(line)["message"])["message"] for line in left_out] == ["line 2"]


def test_a_batch_that_is_refused_whole_is_sent_in_halves(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    fill(spool, range(64))

    def answer(number: int, pairs: list[tuple[dict[str, Any], bytes]]) -> tuple[int, Any]:
        if len(pairs) > 10:
            return 413, {"error": {"type": "too_long", "reason": "content length"}}
        return 200, accepted(pairs)

    assert ship_all(spool, 64, answer).received == 64


def test_a_line_that_is_no_document_arrives_as_one(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    fill(spool, range(2))
    with segment_path(spool, 1).open("a", encoding="utf-8") as file:
        file.write("not JSON\n")
    index = ship_all(spool, 3)
    assert "not JSON" in {document["message"] for document in index.stored.values()}


def test_an_index_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    fill(tmp_path / "spool", range(3))
    with Shipping(tmp_path / "spool", f"http://127.0.0.1:{free_port()}") as shipping:
        wait_until(lambda: bool(shipping.said), "a complaint")
    assert "cannot be reached" in shipping.said[0]
    assert "tried again until it works" in shipping.said[0]
    assert checkpoint(tmp_path / "spool") == []


@pytest.mark.parametrize(
    ("kept", "found", "place"),
    [
        (Place(3, 10), {3: 20}, Place(3, 10)),
        (Place(3, 10), {4: 20}, Place(4, 0)),
        (Place(3, 10), {1: 20, 2: 20}, Place(0, 0)),  # the spool was made anew
        (Place(3, 30), {3: 20}, Place(0, 0)),
        (None, {3: 20}, Place(0, 0)),
    ],
)
def test_the_place_to_go_on_at(kept: Place | None, found: dict[int, int], place: Place, tmp_path: Path) -> None:
    for number, size in found.items():
        segment_path(tmp_path, number).write_bytes(b"x" * size)
    if kept:
        (tmp_path / "shipped.json").write_text(json.dumps(kept._asdict()), encoding="utf-8")
    with Reader(tmp_path) as reader:
        assert reader.place == place


def test_one_shipper_at_a_time_reads_a_spool(tmp_path: Path) -> None:
    with Reader(tmp_path), pytest.raises(UserError, match="another shipper reads"):
        Reader(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        Reader(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "is_over"),
    [
        ("ai102-logs-2026.11.13", True),
        ("ai102-logs-2026.11.14", False),
        ("ai102-logs-2026.11.28", False),
        ("ai102-logs-2026.13.99", False),
        ("ai102-logs-archive", False),
        ("other-2020.01.01", False),
    ],
)
def test_indices_of_days_that_are_over_are_deleted_and_no_others(name: str, is_over: bool) -> None:
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    assert retention.is_over(name, 14, now) == is_over
    stand_in = StandIn()
    stand_in.indices = [name]
    with serving(stand_in) as served, Index(served.url) as index:
        assert retention.expire(index, 14, now, lambda line: None) == ([name] if is_over else [])
    assert served.indices == ([] if is_over else [name])


def test_a_wrong_password_or_address_is_one_line(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("ann:secret", encoding="utf-8")
    password.chmod(0o644)
    with pytest.raises(UserError, match=r"--credentials: .*others may read"):
        Index("http://127.0.0.1:1", credentials=password)
    with pytest.raises(UserError, match="is no address"):
        Index("127.0.0.1:9200")
    with pytest.raises(UserError, match="--ca"):
        Index("https://127.0.0.1:1", ca=password)
    refusing = StandIn(lambda number, pairs: (401, {"error": "no such user"}))
    with serving(refusing) as served, Index(served.url) as index, pytest.raises(RefusedError, match="401") as caught:
        index.bulk([shipper.action_from_line(json.dumps(spooled(1)).encode())])
    assert not caught.value.is_passing
