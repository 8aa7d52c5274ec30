"""TensorRT's log and progress: collects errors, keeps the layer list, and reports progress.

On failure TensorRT returns None, False or -1 and writes the reason only to its logger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ai102.progress import Progress

LAYER_LIST = "Layers:"  # the beginning of the message with the builder's layer list
PARTS = 1000


@dataclass
class Messages:
    """Messages since the last `clear`."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    layer_list: str | None = None

    def clear(self) -> None:
        self.errors.clear()
        self.warnings.clear()
        self.layer_list = None


@lru_cache(maxsize=2)  # TensorRT keeps the first logger it is given for the whole process and ignores the others
def logger_of(trt: Any) -> tuple[Any, Messages]:
    """The one logger of a TensorRT module and its messages."""
    messages = Messages()

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # not super(): pybind requires the base class itself

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                messages.errors.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                messages.warnings.append(message)
            elif message.startswith(LAYER_LIST):
                messages.layer_list = message

    return Logger(), messages


def monitor_of(trt: Any, progress: Progress) -> Any:
    """A progress monitor that calls `progress(done, 1000)`.

    An exception of `progress`, or Ctrl-C, ends the build; the monitor keeps it in `interruption`.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases = Phases()
            self.interruption: BaseException | None = None

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.phases.start(phase, parent, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            try:
                if self.phases.step(phase, step):
                    progress(self.phases.done, PARTS)
            except BaseException as err:  # noqa: BLE001 - C++ calls this: an exception must not pass through it
                self.interruption = err
                return False
            return True

        def phase_finish(self, phase: str) -> None:
            self.phases.finish(phase)

    return Monitor()


class Phases:
    """Progress of nested phases with known numbers of steps, as `done` of PARTS; it never decreases."""

    def __init__(self) -> None:
        self.done = 0
        self._open: dict[str, tuple[str | None, int, int]] = {}  # parent, steps, steps done

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        self._open[phase] = (parent, max(steps, 1), 0)

    def step(self, phase: str, step: int) -> bool:
        """Whether `done` grew."""
        parent, steps, _ = self._open[phase]
        self._open[phase] = (parent, steps, step + 1)
        begin, width = self._span(phase)
        before, self.done = self.done, max(self.done, int(PARTS * (begin + width * (step + 1) / steps)))
        return self.done > before

    def finish(self, phase: str) -> None:
        self._open.pop(phase, None)

    def _span(self, phase: str) -> tuple[float, float]:
        """A phase's begin and width, as shares of the whole build: it fills its parent's current step."""
        parent = self._open[phase][0]
        if parent is None or parent not in self._open:
            return 0.0, 1.0
        _, steps, done = self._open[parent]
        begin, width = self._span(parent)
        return begin + width * min(done, steps - 1) / steps, width / steps
