"""One inference whose large tensors travel through shared memory, and back to the wire where that is not to be had."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
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
from ai102.client.exchange import Deadline, Pause, Step
from ai102.client.memory.segments import WORTH_IT_BYTES, Segment, Segments, aligned
from ai102.client.tensors import size_of_raw

Steps = Generator[Step, Any, Any]
_ANSWERED = (BadRequestError, ModelNotFoundError, RefusedError, ServerFailedError, BadAnswerError)
# How often a region that the server still used is tried again, and how long that may hold up a call or `close`.
SWEEP_EVERY_S = 1.0
SWEEP_S = 0.5
CLOSE_S = 2.0


@dataclass
class Memory:
    """What one client knows of shared memory; `ask` sends a call: (call, deadline, note=..., tries=...)."""

    url: str
    is_insisted: bool
    clock: Callable[[], float]
    ask: Callable[..., Steps]
    segments: Segments = field(default_factory=Segments)
    _next_sweep: float = 0.0

    def infer(self, call: Infer, deadline: Deadline) -> Steps:
        """The Answer with all its bytes, or None where the wire must do."""
        segments = self.segments
        if segments.is_retired:
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
        if segments.abandoned and self.clock() >= self._next_sweep:
            yield from self._sweep(call.headers, deadline)
        try:
            segment = segments.borrow(aligned([*(len(raw.data) for raw in inputs), *outputs.values()]))
        except OSError as err:
            if self.is_insisted:
                raise SharedMemoryError(
                    f"{self.url}: no shared memory to be had ({err.strerror}): make /dev/shm larger", "", call.model
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
            through = replace(call, inputs_at=inputs_at, outputs_at=outputs_at, outputs=names)
            try:
                answer: Answer = yield from self.ask(through, deadline, note=note)
            except (BadRequestError, ModelNotFoundError, ServerFailedError) as err:
                if is_last or "shared memory" not in str(err).lower():
                    raise
                # Either an output has outgrown its place, or the server was restarted and knows no region.
                outputs = {}
                segment.is_registered = "should be at least" in str(err)
            else:
                whole = _whole(answer, segment, outputs_at)
                self._learn(call, whole)
                return whole
        raise AssertionError("the second try returns or raises")

    def _register(self, segment: Segment, call: Infer, deadline: Deadline) -> Steps:
        """Whether the server has the segment now."""
        # Until it says no: whatever cuts the question short, a cancelled task above all, it must be taken back.
        segment.is_registered = True
        try:
            yield from self.ask(Register(segment.name, segment.key, segment.memory.size, call.headers), deadline)
        except (NoServerError, DeadlineError):
            raise
        except InferenceError as err:
            if "already in manager" in str(err):  # an earlier try arrived
                return True
            segment.is_registered = False
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
        """Have the server let go of what it used when the caller had stopped waiting."""
        self._next_sweep = self.clock() + SWEEP_EVERY_S
        ends = Deadline(min(deadline.ends, self.clock() + SWEEP_S), deadline.timeout_s)
        for name in tuple(self.segments.abandoned):
            if (yield from self._unregister(name, headers, ends)) and name in self.segments.abandoned:
                self.segments.abandoned.remove(name)

    def _unregister(self, name: str, headers: Mapping[str, str], deadline: Deadline) -> Steps:
        """Whether the server has let go of the region, or cannot be asked."""
        try:
            yield from self.ask(Unregister(name, headers), deadline, tries=1)
        except InferenceError as err:
            return "in use" not in str(err)
        return True

    def close(self, headers: Mapping[str, str]) -> Steps:
        """Remove every segment, here and in the server; one that it still uses is waited for, but not long."""
        self.segments.retire()
        names = tuple(self.segments.abandoned)
        deadline = Deadline.after(CLOSE_S, self.clock())
        while names and self.clock() < deadline.ends:
            for name in names:
                if (yield from self._unregister(name, headers, deadline)):
                    self.segments.abandoned.remove(name)
            if names := tuple(self.segments.abandoned):
                yield Pause(0.02)


def _is_through_with_it(err: InferenceError) -> bool:
    """The server has answered. gRPC's UNAVAILABLE may be the library's own word for a lost connection."""
    return isinstance(err, _ANSWERED) or (isinstance(err, BusyError) and err.status.isdigit())


def _places(segment: Segment, sizes: Mapping[str, int], at: int) -> dict[str, Region]:
    places = {}
    for name, size in sizes.items():
        places[name] = Region(segment.name, at, size)
        at += aligned([size])
    return places


def _whole(answer: Answer, segment: Segment, outputs_at: Mapping[str, Region]) -> Answer:
    """The answer with the bytes that lie in the segment; an output may be smaller than its place."""
    found = dict(answer.tensors)
    for name, region in outputs_at.items():
        if raw := found.get(name):
            size = size_of_raw(raw)
            if size > region.size:
                raise BadAnswerError(f"{name}: {raw.datatype} {list(raw.shape)} came for {region.size} bytes")
            found[name] = raw._replace(data=segment.read(region.offset, size))
    return answer._replace(tensors=found)
