"""One inference whose large tensors travel through shared memory, or on the wire where the server has none for us."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ai102.client.calls import Answer, Infer, Region, Register, Unregister
from ai102.client.errors import (  # fmt: skip
    BadAnswerError,
    BadRequestError,
    BusyError,
    DeadlineError,
    InferenceError,
    ModelNotFoundError,
    NoServerError,
    RefusedError,
    ServerFailedError,
    SharedMemoryError,
)
from ai102.client.exchange import Deadline, Pause, Steps
from ai102.client.memory.segments import WORTH_IT_BYTES, Segment, Segments, aligned
from ai102.client.tensors import size_of_raw
from ai102.client.words import Meaning

_ANSWERED = (
    BadRequestError, ModelNotFoundError, RefusedError, ServerFailedError, BadAnswerError, SharedMemoryError,
)  # fmt: skip
# How often an abandoned region is asked about again, and how long that may hold up a call or `close`.
SWEEP_EVERY_S = 1.0
SWEEP_S = 0.5
SWEEP_SHARE = 0.25  # of what is left of the call's time
CLOSE_S = 2.0
# With so many abandoned regions, tensors stay on the wire until the server has let go of some.
MOST_ABANDONED = 32


@dataclass
class Memory:
    """The shared memory of one client; `ask` sends a call: (call, deadline, note=..., tries=...)."""

    url: str
    is_insisted: bool
    clock: Callable[[], float]
    ask: Callable[..., Steps]
    segments: Segments = field(default_factory=Segments)
    _next_sweep: float = 0.0

    def infer(self, call: Infer, deadline: Deadline) -> Steps:
        """The Answer with all its bytes, or None for the caller to send the call on the wire."""
        segments = self.segments
        if segments.abandoned_count and self.clock() >= self._next_sweep:
            yield from self._sweep(call.headers, deadline)
        if segments.is_retired or (segments.abandoned_count and self._is_overdrawn(call)):
            return None
        least = 1 if self.is_insisted else WORTH_IT_BYTES
        inputs = [raw for raw in call.tensors if len(raw.data) >= least]
        sizes = segments.sizes_for(call)
        outputs = {name: size for name, size in sizes.items() if size >= least}
        if not inputs and not outputs:
            if not sizes:
                answer = yield from self.ask(call, deadline)
                self._learn(call, answer)
                return answer
            return None
        try:
            segment = segments.borrow(aligned([*(len(raw.data) for raw in inputs), *outputs.values()]))
        except OSError as err:
            if self.is_insisted:
                raise SharedMemoryError(
                    f"{self.url}: no shared memory left ({err.strerror}): make /dev/shm larger", "", call.model
                ) from err
            return None
        is_done = False
        try:
            answer = yield from self._through(segment, call, inputs, outputs, deadline)
            is_done = True
        except InferenceError as err:
            is_done = _is_through_with_it(err)
            raise
        finally:
            if is_done and not segment.is_in_doubt:
                segments.give_back(segment)
            else:
                segments.abandon(segment)
        return answer

    def _is_overdrawn(self, call: Infer) -> bool:
        count = self.segments.abandoned_count
        if count < MOST_ABANDONED:
            return False
        if self.is_insisted:
            words = f"{self.url}: the server still has {count} shared-memory regions of calls that were given up"
            raise SharedMemoryError(f"{words}: try again later, or allow more by timeout_s", "", call.model)
        return True

    def _through(
        self, segment: Segment, call: Infer, inputs: list[Any], outputs: Mapping[str, int], deadline: Deadline
    ) -> Steps:
        def note(err: InferenceError) -> None:
            is_unsent = isinstance(err, NoServerError) and not err.was_sent
            if not is_unsent and not _is_through_with_it(err):
                segment.is_in_doubt = True

        for is_last in (False, True):
            if not segment.is_registered and not (yield from self._register(segment, call, deadline)):
                return None
            inputs_at, end = segment.write(inputs)
            outputs_at = _places(segment, outputs, end)
            names = call.outputs or (tuple(self.segments.sizes_for(call)) if outputs_at else ())
            through = call._replace(inputs_at=inputs_at, outputs_at=outputs_at, outputs=names)
            try:
                answer: Answer = yield from self.ask(through, deadline, note=note)
            except SharedMemoryError as err:
                # Either an output is larger than its place, or the server was restarted and knows no region.
                if err.meaning not in (Meaning.REGION_IS_UNKNOWN, Meaning.REGION_IS_TOO_SMALL):
                    raise
                if is_last:
                    if self.is_insisted:
                        raise
                    return None
                outputs = {}
                segment.is_registered = err.meaning is Meaning.REGION_IS_TOO_SMALL
            else:
                whole = _whole(answer, segment, outputs_at)
                self._learn(call, whole)
                return whole
        raise AssertionError("the second try returns or raises")

    def _register(self, segment: Segment, call: Infer, deadline: Deadline) -> Steps:
        """Whether the server has the segment now."""
        # True until the server refuses it: a call that is cut short, as by a cancelled task, must be undone.
        segment.is_registered = True
        failures: list[InferenceError] = []
        register = Register(segment.name, segment.key, segment.memory.size, call.headers)
        try:
            yield from self.ask(register, deadline, note=failures.append)
        except (NoServerError, DeadlineError):
            raise
        except InferenceError as err:
            if err.meaning is Meaning.REGION_IS_REGISTERED:  # by an earlier try
                return True
            segment.is_registered = any(isinstance(one, NoServerError) and one.was_sent for one in failures)
            if self.is_insisted:
                raise SharedMemoryError(
                    f"{self.url}: the server refuses shared memory ({err}); start it with "
                    "--allow-client-shm=true where it has that option, or leave shared_memory out",
                    err.status,
                    call.model,
                ) from err
            self.segments.retire()
            return False
        return True

    def _learn(self, call: Infer, answer: Answer) -> None:
        sizes = {raw.name: 0 if raw.datatype == "BYTES" else len(raw.data) for raw in answer.tensors.values()}
        known = self.segments.sizes_for(call)
        if any(size > known.get(name, -1) for name, size in sizes.items()):
            self.segments.learn(call, sizes)

    def _sweep(self, headers: Mapping[str, str], deadline: Deadline) -> Steps:
        """Have the server let go of regions whose callers stopped waiting, in a small part of this call's time."""
        now = self.clock()
        self._next_sweep = now + SWEEP_EVERY_S
        limit_s = min(SWEEP_S, SWEEP_SHARE * (deadline.ends - now))
        yield from self._release(headers, Deadline(now + limit_s, deadline.timeout_s))

    def _release(self, headers: Mapping[str, str], deadline: Deadline) -> Steps:
        """Ask about each abandoned region once, until the deadline; returns whether there is a server to ask."""
        for name in self.segments.abandoned:
            if self.clock() >= deadline.ends:
                break
            try:
                yield from self.ask(Unregister(name, headers), deadline, tries=1)
            except NoServerError as err:
                self.segments.defer(name)
                if err.is_refused:
                    return False
            except InferenceError as err:
                if err.meaning is Meaning.REGION_IS_UNKNOWN:
                    self.segments.forget(name)
                else:
                    self.segments.defer(name)
            else:
                self.segments.forget(name)
        return True

    def close(self, headers: Mapping[str, str]) -> Steps:
        """Remove every segment, here and in the server; for one that the server still uses, wait for CLOSE_S at most.

        Warns where the server has not let go of all.
        """
        self.segments.retire()
        deadline = Deadline.after(CLOSE_S, self.clock())
        while self.segments.abandoned_count and self.clock() < deadline.ends:
            if not (yield from self._release(headers, deadline)):
                return  # the server has ended, and its regions with it
            if self.segments.abandoned_count and self.clock() < deadline.ends:
                yield Pause(0.02)
        if count := self.segments.abandoned_count:
            words = f"{self.url}: the server may keep {count} shared-memory regions until it ends"
            warnings.warn(f"{words}: it did not let go of them within {CLOSE_S:g} s", ResourceWarning, stacklevel=2)


def _is_through_with_it(err: InferenceError) -> bool:
    """Whether the server has answered. gRPC's library itself says UNAVAILABLE of a lost connection."""
    return isinstance(err, _ANSWERED) or (isinstance(err, BusyError) and err.status.isdigit())


def _places(segment: Segment, sizes: Mapping[str, int], at: int) -> dict[str, Region]:
    places = {}
    for name, size in sizes.items():
        places[name] = Region(segment.name, at, size)
        at += aligned([size])
    return places


def _whole(answer: Answer, segment: Segment, outputs_at: Mapping[str, Region]) -> Answer:
    """The answer with the bytes that lie in the segment; an output may be smaller than its place."""
    raws = dict(answer.tensors)
    for name, region in outputs_at.items():
        if raw := raws.get(name):
            size = size_of_raw(raw)
            if size > region.size:
                raise BadAnswerError(f"{name}: {raw.datatype} {list(raw.shape)} does not fit its {region.size} bytes")
            raws[name] = raw._replace(data=segment.read(region.offset, size))
    return answer._replace(tensors=raws)
