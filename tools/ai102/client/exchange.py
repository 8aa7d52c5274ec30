"""How a call becomes an answer: which server, how often, how long. Written once, for threads and for asyncio.

A generator yields each step and is sent its outcome; `client` and `aio` drive it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from ai102.client.addresses import Balancer
from ai102.client.calls import Call
from ai102.client.errors import (  # fmt: skip
    BusyError,
    DeadlineError,
    InferenceError,
    NoServerError,
    TlsError,
    WrongProtocolError,
    too_late,
)

# A host that does not even refuse is given up after this, so that another server can still answer in time.
CONNECT_TIMEOUT_S = 3.0
# A host that confirms nothing of what was sent to it for so long is gone: its kernel confirms, however busy it is.
SILENT_HOST_S = 3.0


class Attempt(NamedTuple):
    """Send the call to the address and wait for `timeout_s` at most."""

    address: str
    call: Call
    timeout_s: float


@dataclass(frozen=True)
class Pause:
    seconds: float


Step = Attempt | Pause
Steps = Generator[Step, Any, Any]


@dataclass(frozen=True)
class Retry:
    """How often a call is tried in all, and the longest pause before the second try; each further pause is doubled.

    A pause is drawn evenly between zero and its longest, so that callers who failed together do not return together
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
) -> Steps:
    """Yields each step and is sent its outcome; returns the answer.

    Raises the last InferenceError when every try failed, and DeadlineError when the deadline is over, which covers
    tries and pauses alike. Only a call that changes nothing is repeated, unless it never reached a server. A server
    that is gone or silent costs no try while there is another to ask. A server that says when to come back is left
    alone for so long, or its error raised where that is past the deadline. `note` is called with the error of every
    try that failed.
    """
    clock, ends = balancer.clock, deadline.ends
    tried: list[str] = []
    while True:
        began = clock()
        left = ends - began
        if left <= 0:
            raise too_late(url, deadline.timeout_s, call.model, len(tried))
        address = balancer.pick(tried)
        limit = _limit(call, balancer, address, tried, left)
        tried.append(address)
        try:
            answer = yield Attempt(address, call, limit)
        except InferenceError as err:
            if note is not None:
                note(err)
            is_silent = isinstance(err, DeadlineError) and not err.is_from_server
            if isinstance(err, NoServerError):
                balancer.failed(address)
            elif is_silent:
                balancer.was_silent(address, began)
            elif not isinstance(err, WrongProtocolError | TlsError):
                balancer.answered(address)
            if is_silent and (limit == left or clock() >= ends):
                raise too_late(url, deadline.timeout_s, call.model, len(tried)) from err
            is_gone = is_silent or isinstance(err, NoServerError)
            has_another = is_gone and len(set(tried)) < len(balancer.addresses)
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
            balancer.answered(address)
            return answer


def with_attempts(steps: Steps, change: Callable[[Attempt], Attempt]) -> Steps:
    """The same steps, with each attempt as `change` makes it; what an attempt came to is handed on to them."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Attempt):
                step = change(step)
            try:
                outcome = yield step
            except InferenceError as err:
                step = steps.throw(err)
            else:
                step = steps.send(outcome)
    except StopIteration as done:
        return done.value
    finally:
        steps.close()


def _limit(call: Call, balancer: Balancer, address: str, tried: Sequence[str], left: float) -> float:
    """How long one attempt may take: all that is left, or an even share of it.

    A share is for a server that has not answered since it last failed, while there are others to ask. A server that
    does answer gets all of the time: to cut its slow calls short would send each of them to every server.
    """
    if balancer.has_answered(address) or not call.is_safe_to_repeat:
        return left
    others = balancer.awake({address, *tried})
    return left / (1 + len(others))


def _is_worth_repeating(call: Call, err: InferenceError) -> bool:
    if isinstance(err, NoServerError):
        return call.is_safe_to_repeat or not err.was_sent
    if isinstance(err, DeadlineError):
        return call.is_safe_to_repeat and not err.is_from_server
    return isinstance(err, BusyError) and call.is_safe_to_repeat
