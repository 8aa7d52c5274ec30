"""Calls of jobs that wait: no proxy cuts a stream with a beat now and then, or an answer that comes when asked for."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ai102.api.jobs.routes import BEAT_S, MAX_WAIT_S
from ai102.gateway.running import ProxyName, Runner
from tests.gateway import http2_frames as http2
from tests.gateway.asking import Asker
from tests.gateway.attackers import Target, connected, request
from tests.gateway.conftest import home_in, needs, wait_until
from tests.gateway.jobs_api import jobs_api
from tests.gateway.tokens import ROLES, TokenMaker

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.waits, needs("haproxy"), needs("nginx")]
PROXIES: tuple[ProxyName, ...] = ("haproxy", "nginx")
LIMITS = {"header_timeout_s": 5, "answer_timeout_s": 35}
# So that a stream lasts longer than any single answer may take.
BEATS = 4
BEAT, LONGEST_S = b": still there", 2 * BEATS * BEAT_S
JOB = {"model": "embed_text", "text": "hello"}


def beats_over_http1(target: Target, path: str) -> int:
    """How many beats come before the stream ends, up to BEATS."""
    with connected(target) as connection:
        connection.sendall(request(f"GET {path}", target.bearer))
        return beats_in(connection)


def beats_over_http2(target: Target, path: str) -> int:
    fields = [(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", "localhost"),
              ("authorization", f"Bearer {target.token}")]  # fmt: skip
    with connected(target, protocol="h2") as connection:
        connection.sendall(http2.opening() + http2.headers(fields) + http2.data(b"", 1))
        return beats_in(connection)


def beats_in(connection: ssl.SSLSocket) -> int:
    seen, ends = b"", time.monotonic() + LONGEST_S
    while seen.count(BEAT) < BEATS and time.monotonic() < ends:
        part = connection.recv(4096)  # raises after 20 s without a byte
        if not part:
            break
        seen += part
    return seen.count(BEAT)


@pytest.fixture
def opened(tokens: TokenMaker, tmp_path: Path) -> Iterator[list[tuple[Asker, Target, str]]]:
    """Both proxies before one API, and the address of a job that waits."""
    with ExitStack() as started:
        api, token = started.enter_context(jobs_api(tmp_path)), tokens.token("ann", ROLES["embedder"])
        found = []
        for number, proxy in enumerate(PROXIES, 1):
            nobody = (f"127.0.0.1:{number}", f"127.0.0.1:{number + 10}")
            home = home_in(tmp_path / proxy, tokens, [nobody], services={"api": api}, limits=LIMITS)
            started.enter_context(Runner(home.gateway, home.folder, proxy, home.folder / "log"))
            asker = started.enter_context(closing(Asker(home)))
            wait_until(lambda asker=asker: asker.status("GET", "/v1/jobs", token) == 200, proxy)  # type: ignore[misc]
            target = Target(home.gateway.listen.rest, home.gateway.listen.grpc, home.ca, token)
            job = asker.ask("POST", "/v1/jobs", token, json=JOB).json()["id"]
            found.append((asker, target, f"/v1/jobs/{job}"))
        yield found


def test_a_stream_with_beats_outlives_the_time_for_an_answer_and_a_long_wait_is_answered(
    opened: list[tuple[Asker, Target, str]],
) -> None:
    with ThreadPoolExecutor(3 * len(opened)) as threads:
        calls = []
        for asker, target, path in opened:
            calls.append(threads.submit(beats_over_http1, target, f"{path}/events"))
            calls.append(threads.submit(beats_over_http2, target, f"{path}/events"))
            calls.append(threads.submit(waited, asker, target.token, path))
        seen = [call.result() for call in calls]
    assert seen == [BEATS, BEATS, 200] * len(opened)


def waited(asker: Asker, token: str, path: str) -> int:
    began = time.monotonic()
    answer = asker.ask("GET", f"{path}?wait={MAX_WAIT_S:g}s", token, timeout=2 * MAX_WAIT_S)
    assert time.monotonic() - began >= MAX_WAIT_S - 1
    assert answer.json()["state"] == "queued"
    return answer.status_code


def test_the_stream_lasts_longer_than_any_timeout_of_the_gateway() -> None:
    assert LIMITS["header_timeout_s"] < BEAT_S < MAX_WAIT_S < LIMITS["answer_timeout_s"] < BEATS * BEAT_S
