"""How a call becomes an answer: which server, how often, how long. Written once, for threads and for asyncio.

A generator says what to do next and is told what came of it; `sync` and `asyncio` in `client` drive it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from ai102.client.addresses import Balancer
from ai102.client.calls import Call
from ai102.client.errors import BusyError, DeadlineError, InferenceError, NoServerError, too_late


@dataclass(frozen=True)
class Attempt:
    """Send the call to that address and wait no longer than that."""

    address: str
    call: Call
    timeout_s: float


@dataclass(frozen=True)
class Pause:
    seconds: float


Step = Attempt | Pause


@dataclass(frozen=True)
class Retry:
    """How often a call is tried in all, and the longest pause before the second try; each further one is doubled.

    The pause is drawn evenly from nothing to that, so that callers who failed together do not come back together
    (full jitter, Brooker 2015, AWS Architecture Blog).
    """

    tries: int = 3
    pause_s: float = 0.05
    longest_pause_s: float = 2.0


def exchange(
    call: Call,
    balancer: Balancer,
    retry: Retry,
    timeout_s: float,
    url: str,
    random: Callable[[], float],
) -> Generator[Step, Any, Any]:
    """Yields what to do and is sent its outcome; returns the answer.

    Raises the last InferenceError when every try failed, and DeadlineError when `timeout_s` is over, which covers
    tries and pauses alike. Only a call that changes nothing is repeated, unless it never reached a server.
    """
    clock = balancer.clock
    ends = clock() + timeout_s
    tried: list[str] = []
    while True:
        left = ends - clock()
        if left <= 0:
            raise too_late(url, timeout_s, call.model, len(tried))
        address = balancer.pick(tried)
        tried.append(address)
        try:
            answer = yield Attempt(address, call, left)
        except DeadlineError as err:
            raise too_late(url, timeout_s, call.model, len(tried)) from err
        except InferenceError as err:
            if isinstance(err, NoServerError):
                balancer.failed(address)
            if len(tried) >= retry.tries or not _is_worth_repeating(call, err):
                raise
            has_another = isinstance(err, NoServerError) and len(set(tried)) < len(balancer.addresses)
            longest = min(retry.longest_pause_s, retry.pause_s * 2 ** (len(tried) - 1))
            pause = 0.0 if has_another else longest * random()
            if clock() + pause >= ends:
                raise too_late(url, timeout_s, call.model, len(tried)) from err
            yield Pause(pause)
        else:
            balancer.worked(address)
            return answer


def _is_worth_repeating(call: Call, err: InferenceError) -> bool:
    if isinstance(err, NoServerError):
        return call.is_safe_to_repeat or not err.was_sent
    return isinstance(err, BusyError) and call.is_safe_to_repeat
