"""Callbacks: signed, sent again, and never to an address that is not public."""

import asyncio
import json
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from threading import Thread

import pytest

from ai102.errors import UserError
from ai102.jobs import callbacks
from ai102.jobs.callbacks import Callbacks, RefusedAddressError, Settings, address_for, key_of, master_key
from ai102.jobs.job import Ended, State
from ai102.jobs.ledger.ledger import Ledger
from tests.jobs.new import Clock, digit, job

HERE = ip_network("127.0.0.0/8")
KEY = bytes(range(32))
IN_TIME_S = 30.0


class Receiver:
    """An HTTP server that answers with each of `statuses` in turn, the last one again and again."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(statuses[min(len(receiver.requests), len(statuses)) - 1])
                self.send_header("location", "http://169.254.169.254/")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?x=1"

    @contextmanager
    def listening(self) -> Iterator["Receiver"]:
        thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    opened = Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=clock)
    yield opened
    opened.close()


def ended(ledger: Ledger, url: str) -> str:
    """A job with a callback that has ended."""
    (accepted,) = ledger.accept([job(callback=url, key="mine")])
    ledger.end([Ended(one.id, one.claim, State.SUCCEEDED, digit()) for one in ledger.claim([accepted.id], 60).claimed])
    return accepted.id


def until(ledger: Ledger, clock: Clock, said: list[str], tries: int) -> None:
    """Let callbacks be made, the clock moving on by itself, until there were so many or none is due any more."""

    database = sqlite3.connect(ledger.url.removeprefix("sqlite:///"))

    def is_any_due() -> bool:
        return bool(database.execute("SELECT 1 FROM jobs WHERE callback_due_s IS NOT NULL").fetchone())

    async def go() -> None:
        made = Callbacks(ledger, Settings(KEY, (HERE,)), said.append, clock=clock)  # type: ignore[arg-type]
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(IN_TIME_S):
            while len(said) < tries and is_any_due():
                clock.now += 100
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        database.close()

    asyncio.run(go())


def test_an_ended_job_is_sent_once_as_a_signed_event(ledger: Ledger, clock: Clock) -> None:
    with Receiver(204).listening() as receiver:
        id = ended(ledger, receiver.url)
        until(ledger, clock, [], 1)
        ((headers, body),) = receiver.requests
    event = json.loads(body)
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "ai102.job.ended", id)
    assert event["data"] == {"id": id, "state": "succeeded", "model": "digits_int8", "key": "mine"}
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["host"] == receiver.url.split("/")[2]
    timestamp = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == callbacks.signature(key_of(KEY, "ann"), id, timestamp, body)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    key = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signed = callbacks.signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_callback_that_fails_is_made_again_until_it_is_taken(ledger: Ledger, clock: Clock) -> None:
    said: list[str] = []
    with Receiver(500, 302, 200).listening() as receiver:
        ended(ledger, receiver.url)
        until(ledger, clock, said, 99)
        # A redirection is not followed: it is an answer like any other.
        assert len(receiver.requests) == 3
    assert [line.partition(", ")[2] for line in said] == ["try 1: answered 500", "try 2: answered 302"]


def test_a_callback_that_is_never_taken_is_given_up(ledger: Ledger, clock: Clock) -> None:
    said: list[str] = []
    with Receiver(500).listening() as receiver:
        ended(ledger, receiver.url)
        until(ledger, clock, said, 99)
        assert len(receiver.requests) == len(callbacks.PAUSES_S) + 1
    assert said[-1].endswith("answered 500; given up")


def test_a_cancelled_job_is_called_back_too(ledger: Ledger, clock: Clock) -> None:
    with Receiver(200).listening() as receiver:
        (accepted,) = ledger.accept([job(callback=receiver.url)])
        ledger.cancel("ann", accepted.id)
        until(ledger, clock, [], 1)
        assert json.loads(receiver.requests[0][1])["data"]["state"] == "cancelled"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "::1", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1", "::", "ff02::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(RefusedAddressError, match="is not public"):
        address_for("hook.example", 443, (), lambda host, port: ["93.184.216.34", address])


def test_an_allowed_network_and_public_addresses_are_called() -> None:
    assert address_for("hook.example", 443, (), lambda host, port: ["93.184.216.34"]) == "93.184.216.34"
    assert address_for("hook.example", 443, (HERE,), lambda host, port: ["127.0.0.2"]) == "127.0.0.2"


def test_a_callback_to_a_private_address_makes_no_request(ledger: Ledger, clock: Clock) -> None:
    said: list[str] = []
    ended(ledger, "http://10.255.255.1/")
    until(ledger, clock, said, 1)
    assert said[0].endswith("10.255.255.1 is at 10.255.255.1, which is not public")


def test_the_master_key_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "jobs" / "callback.key"
    first = master_key(file)
    assert (master_key(file), file.stat().st_mode & 0o777, len(first)) == (first, 0o600, 32)
    assert key_of(first, "ann") != key_of(first, "bob")
    file.write_bytes(b"short")
    with pytest.raises(UserError, match="not a key of 32 bytes"):
        master_key(file)


def test_keys_are_written_as_standard_webhooks_has_them() -> None:
    assert len(b64encode(key_of(KEY, "ann"))) == 44
