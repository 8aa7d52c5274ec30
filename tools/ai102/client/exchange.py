"""How a call becomes an answer: which server, how often, how long. Written once, for threads and for asyncio.

A generator says what to do next and is told what came of it; `client` and `aio` drive it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from ai102.client.addresses import Balancer
from ai102.client.calls import Call
from ai102.client.errors import BusyError, DeadlineError, InferenceError, NoServerError, too_late

# A host that does not even refuse is given up after this, so that another can still answer in time.
CONNECT_TIMEOUT_S = 3.0


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


class Deadline(NamedTuple):
    """When a caller stops waiting, by the balancer's clock, and the time that was given in all."""

    ends: float
    timeout_s: float

    @classmethod
    def after(cls, timeout_s: float, now: float) -> Self:
        return cls(now + timeout_s, timeout_s)


def exchange(
    call: Call,
    balancer: Balancer,
    retry: Retry,
    deadline: Deadline,
    url: str,
    random: Callable[[], float],
    note: Callable[[InferenceError], None] | None = None,
) -> Generator[Step, Any, Any]:
    """Yields what to do and is sent its outcome; returns the answer.

    Raises the last InferenceError when every try failed, and DeadlineError when the deadline is over, which covers
    tries and pauses alike. Only a call that changes nothing is repeated, unless it never reached a server. A server
    that is gone costs no try while there is another to ask. A server that says when to come back is left alone for
    so long, or its error raised where that is past the deadline. `note` is told of every try that failed.
    """
    clock, ends = balancer.clock, deadline.ends
    tried: list[str] = []
    while True:
        left = ends - clock()
        if left <= 0:
            raise too_late(url, deadline.timeout_s, call.model, len(tried))
        address = balancer.pick(tried)
        tried.append(address)
        try:
            answer = yield Attempt(address, call, left)
        except DeadlineError as err:
            raise too_late(url, deadline.timeout_s, call.model, len(tried)) from err
        except InferenceError as err:
            if note is not None:
                note(err)
            if isinstance(err, NoServerError):
                balancer.failed(address)
            has_another = isinstance(err, NoServerError) and len(set(tried)) < len(balancer.addresses)
            if not _is_worth_repeating(call, err) or (len(tried) >= retry.tries and not has_another):
                raise
            longest = min(retry.longest_pause_s, retry.pause_s * 2 ** (len(tried) - 1))
            pause = 0.0 if has_another else longest * random()
            if isinstance(err, BusyError) and err.retry_after_s is not None:
                pause += err.retry_after_s
                if clock() + pause >= ends:
                    raise
            if clock() + pause >= ends:
                raise too_late(url, deadline.timeout_s, call.model, len(tried)) from err
            yield Pause(pause)
        else:
            balancer.worked(address)
            return answer


def _is_worth_repeating(call: Call, err: InferenceError) -> bool:
    if isinstance(err, NoServerError):
        return call.is_safe_to_repeat or not err.was_sent
    return isinstance(err, BusyError) and call.is_safe_to_repeat
