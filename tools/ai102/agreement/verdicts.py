"""What the real server says of each mutated model: it loads, or is refused and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from ai102.agreement.mutations.edits import CONFIG
from ai102.agreement.mutations.seeds import PARTS
from ai102.serve.server import Server

# Triton completes each config in a process of its own and waits for it. With 16 at once on two busy cores a load took
# longer than a load that hangs is waited for.
AT_ONCE = (6, 1)
LOAD_TIMEOUT_S = 15
# Seen once each in many hundred starts: the server ended, or hung, while it loaded the parts, which are sound, at once.
START_TRIES = 3
PARTS_TIMEOUT_S = 60
OPTIONS = (f"--model-load-thread-count={AT_ONCE[0]}",)
FREE_PORTS: dict[str, Any] = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
# The config is what is judged: these name what the machine or the pip package lacks.
NOT_OF_THE_CONFIG = re.compile(
    "unable to find backend library for backend|no GPUs are available|unsupported gpu id [0-9]"
    "|unable to find 'libtritonrepoagent_[^.]"
)
# On a machine without a GPU an instance of KIND_AUTO becomes one of KIND_CPU.
OF_KIND_AUTO = "has kind KIND_CPU but specifies one or more GPUs"
# ONNX files are served by a Python-based backend of ours; NVIDIA's has ragged batches and no environment of Python.
OF_OUR_BACKEND = re.compile("which this backend cannot serve|Failed to get the canonical path")
POLL_FAILED = re.compile(r"Poll failed for model directory '(?P<name>[^']+)': (?P<reason>.*)\"$")
HUNG = "StatusCode.DEADLINE_EXCEEDED"
CUT = "StatusCode.UNAVAILABLE"
Outcome = Literal["loads", "refused", "crash", "hang", "not judged"]


@dataclass(frozen=True)
class Verdict:
    """`message` is the server's reason, empty for a model that loads."""

    outcome: Outcome
    message: str = ""

    @property
    def is_refused(self) -> bool:
        return self.outcome in ("refused", "crash", "hang")


def server_version() -> str:
    """Of the tritonserver that judges, such as "2.51.0"."""
    with (
        TemporaryDirectory() as folder,
        Server(Path(folder), models=[], **FREE_PORTS) as server,
        grpcclient.InferenceServerClient(server.grpc_url) as client,
    ):
        return str(client.get_server_metadata().version)


def verdicts(repository: Path, names: Sequence[str]) -> dict[str, Verdict]:
    """Load every named model in a real server; one that ends or hangs the server counts as refused."""
    by_name: dict[str, Verdict] = {}
    left = list(names)
    # Whatever was being loaded when a server ended or hung is tried again with fewer others, at last alone.
    for at_once in AT_ONCE:
        suspects: dict[str, Verdict] = {}
        while left:
            judged, cut = one_that_starts(repository, left, at_once)
            by_name |= judged
            suspects |= cut
            left = [name for name in left if name not in by_name and name not in suspects]
        left = list(suspects)
    return by_name | suspects


def one_that_starts(
    repository: Path, names: Sequence[str], at_once: int
) -> tuple[dict[str, Verdict], dict[str, Verdict]]:
    """`one_server`, and another where it did not get as far as the first of `names`."""
    for _ in range(START_TRIES - 1):
        try:
            return one_server(repository, names, at_once)
        except InferenceServerException as err:
            if err.status() not in (CUT, HUNG):
                raise
    return one_server(repository, names, at_once)


def one_server(repository: Path, names: Sequence[str], at_once: int) -> tuple[dict[str, Verdict], dict[str, Verdict]]:
    """The verdicts until the server ends or hangs, and what it was loading then.

    Raises InferenceServerException when it did not get as far as the first of `names`.
    """
    by_name: dict[str, Verdict] = {}
    cut: dict[str, Verdict] = {}
    polled: dict[str, str] = {}

    def note(line: str) -> None:
        if failure := POLL_FAILED.search(line):
            polled[failure["name"]] = failure["reason"]

    server = Server(repository, models=[], extra_arguments=OPTIONS, log=note, **FREE_PORTS)
    with server, grpcclient.InferenceServerClient(server.grpc_url) as client:

        def judge(name: str) -> None:
            if cut or server.wait(0) is not None:
                return
            try:
                client.load_model(name, client_timeout=LOAD_TIMEOUT_S)
            except InferenceServerException as err:
                if err.status() == CUT and server.wait(5) is not None:
                    cut[name] = Verdict("crash", "the server ended")
                elif err.status() == HUNG:  # and with it every load that comes after
                    cut[name] = Verdict("hang", f"the load did not end within {LOAD_TIMEOUT_S} s")
                else:
                    by_name[name] = verdict_from_message(name, err.message(), repository)
            else:
                by_name[name] = Verdict("loads")
                with suppress(InferenceServerException):  # another one's load may end the server meanwhile
                    client.unload_model(name, client_timeout=LOAD_TIMEOUT_S)

        if at_once > 1:  # two ensembles cannot load the same step at the same time
            with ThreadPoolExecutor(len(PARTS)) as pool:
                list(pool.map(partial(client.load_model, client_timeout=PARTS_TIMEOUT_S), PARTS))
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(judge, names))
        # An orderly stop would wait for what hangs, and 3 s for processes that serve nobody.
        server.stop(at_once=True)
    # The reason of a config that fails before anything is loaded stands in the log only.
    refused = [name for name, verdict in by_name.items() if verdict.outcome == "refused"]
    by_name |= {name: verdict_from_message(name, polled[name], repository) for name in refused if name in polled}
    return by_name, cut


def verdict_from_message(name: str, message: str, repository: Path) -> Verdict:
    file = repository / name / CONFIG
    config = file.read_bytes() if file.is_file() else b""
    is_of_the_machine = OF_KIND_AUTO in message and b"KIND_CPU" not in config
    is_of_our_backend = OF_OUR_BACKEND.search(message) and b"onnxruntime" in config
    is_judged = not (is_of_the_machine or is_of_our_backend or NOT_OF_THE_CONFIG.search(message))
    return Verdict("refused" if is_judged else "not judged", message.strip())
