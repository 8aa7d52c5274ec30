"""Start and memory of a server with each engine: `python -m loadtest.engine_start` prints them.

The server starts with every model on ONNX Runtime, and with the engines that the build chose: with no compiled models
kept, and with those of the start before. These three in turns, so that other load slows all of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from ai102.cli.screen import Screen
from ai102.host.cpu import cpu_name
from ai102.serve.server import Server
from ai102_runtime.engine.cpu import this_cpu
from ai102_runtime.engine.record import judged_choice, record_of

ROOT = Path(__file__).parent.parent
ONNXRUNTIME, FIRST, SECOND = "ONNX Runtime alone", "as built, nothing kept", "as built, second start"
ROUNDS = 7
# Of Triton's log: when the process of a model is started, and when the model has run its warm-up.
TIME = r"^I\d{4} (?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>[\d.]+) "
BEGIN = re.compile(TIME + r'.*"TRITONBACKEND_ModelInstanceInitialize: (?P<model>\w+)_0_0 ')
READY = re.compile(TIME + r".*\"successfully loaded '(?P<model>\w+)'")
WHOLE = "the server"
WIDTH = 110  # of the table, also where there is no terminal


@dataclass(frozen=True)
class Start:
    """Of the server and of each of its models: the seconds until it is ready, and the MiB of its processes.

    `processor_s` is what all processes computed, until the server's end: other load on the machine changes it least.
    """

    seconds: dict[str, float]
    mib: dict[str, float]
    processor_s: float


def measure(repository: Path, forgotten: Path | None = None) -> Start:
    """Start a server, wait until it is ready, and stop it; before that, remove the folder `forgotten`."""
    if forgotten is not None:
        shutil.rmtree(forgotten, ignore_errors=True)
    log: list[str] = []
    used_s, begin = _used_processor_s(), time.perf_counter()
    with Server(repository, http_port=0, grpc_port=0, metrics_port=0, log=log.append) as server:
        seconds = time.perf_counter() - begin
        memory = mib_by_model(server.pid)
    return Start({WHOLE: seconds, **seconds_from_log(log)}, memory, _used_processor_s() - used_s)


def _used_processor_s() -> float:
    """By the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def seconds_from_log(log: Sequence[str]) -> dict[str, float]:
    """By model: from the start of its process until it is ready, warm-up included."""
    begins: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for line in log:
        if begin := BEGIN.search(line):
            begins[begin["model"]] = _time_of_day_s(begin)
        elif (ready := READY.search(line)) and ready["model"] in begins:
            seconds[ready["model"]] = (_time_of_day_s(ready) - begins[ready["model"]]) % (24 * 3600)
    return seconds


def _time_of_day_s(match: re.Match[str]) -> float:
    return 3600 * int(match["hours"]) + 60 * int(match["minutes"]) + float(match["seconds"])


def mib_by_model(group: int) -> dict[str, float]:
    """PSS: of a page that several processes share, each has its part."""
    kib = {WHOLE: 0}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) != group:
                continue
            arguments = (process / "cmdline").read_text(encoding="utf-8").split("\0")
            lines = (process / "smaps_rollup").read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        pss = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        kib[WHOLE] += pss
        # The process of a model has its file as the first argument: REPOSITORY/MODEL/VERSION/FILE.
        if "stub" in arguments[0]:
            kib[Path(arguments[1]).parts[-3]] = pss
    return {name: size / 1024 for name, size in kib.items()}


def models_on_openvino(repository: Path) -> list[str]:
    """Those whose records choose it for this kind of CPU."""
    files = [file for file in repository.rglob("model.onnx") if judged_choice(file, this_cpu()).engine == "openvino"]
    return sorted({file.relative_to(repository).parts[0] for file in files})


def copy_for_onnxruntime(repository: Path, copy: Path) -> Path:
    """A copy whose records choose nothing."""
    shutil.copytree(repository, copy)
    for file in copy.rglob("model.onnx"):
        record_of(file).write_text("{}\n", encoding="utf-8")
    return copy


def shown(values: Sequence[float], digits: int) -> str:
    """The median and the range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table_of(starts: dict[str, list[Start]], models: Sequence[str]) -> Table:
    table = Table(box=None)
    for heading in ("start", "of", "ready after s", "PSS MiB", "processor s"):
        table.add_column(heading, no_wrap=True)
    for case, measured in starts.items():
        for name in (WHOLE, *models):
            seconds, mib = [one.seconds[name] for one in measured], [one.mib[name] for one in measured]
            used = shown([one.processor_s for one in measured], 2) if name == WHOLE else ""
            table.add_row(case, name, shown(seconds, 2), shown(mib, 0), used)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    screen = Screen()
    screen.console.width = max(screen.console.width, WIDTH)
    models = models_on_openvino(options.repository)
    if not models:
        raise SystemExit(f"{options.repository}: no model is computed by OpenVINO on a CPU of the kind {this_cpu()}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        copy = copy_for_onnxruntime(options.repository, Path(folder, "repository"))
        kept = Path(folder, "ai102", "openvino")
        cases: dict[str, Callable[[], Start]] = {
            ONNXRUNTIME: lambda: measure(copy),
            FIRST: lambda: measure(options.repository, forgotten=kept),
            SECOND: lambda: measure(options.repository),
        }
        measure(copy)  # makes the backend directory, and reads the libraries from the disk
        starts: dict[str, list[Start]] = {case: [] for case in cases}
        for turn in range(options.rounds):
            with screen.step(f"round {turn + 1} of {options.rounds}"):
                for case, start in cases.items():
                    starts[case].append(start())
    screen.console.print(table_of(starts, models))
    longer = [
        second.seconds[WHOLE] - other.seconds[WHOLE]
        for second, other in zip(starts[SECOND], starts[ONNXRUNTIME], strict=True)
    ]
    screen.say(f"The second start takes longer than with ONNX Runtime alone by {shown(longer, 2)} s")
    versions = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "openvino"))
    screen.say(
        f"Medians and ranges of {options.rounds} starts; {os.cpu_count()} cores of {cpu_name()} ({this_cpu()}), "
        f"Python {platform.python_version()}, {versions}, {datetime.now(UTC).date()}"
    )


if __name__ == "__main__":
    main()
