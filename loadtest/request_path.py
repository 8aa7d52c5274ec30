"""Where the time of one request goes, from the client to the engine and back: `python -m loadtest.request_path`.

One request at a time over gRPC and HTTP, each 500 times. Triton's trace gives the moments inside the server, and a
model.py that records when it was called those inside its Python process; all of them are read from one clock. The
server has one core, the client another. Prints the median of each part and writes build/request_path.json and
request_path.png.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from google.protobuf import text_format
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tritonclient.grpc import model_config_pb2 as pb

from ai102.cli.screen import Screen
from ai102.host.cpu import cpu_name
from ai102.serve.server import Server
from loadtest.bench.model import write_one_ms
from loadtest.bench.processes import pin_this_process, served_on
from loadtest.bench.works import BENCH, MAKERS, ROOT, Arrays

SERVER_CORE, CLIENT_CORE = 0, 1
WARM, COUNTED = 50, 500
LIBRARIES = {"grpc": tritonclient.grpc, "http": tritonclient.http}
# Models, and the work of the benchmark that has their inputs.
MODELS = {
    "digits_int8": "image",
    "one_ms": "one_ms",
    "score_image": "image",
    "classify_image": "image",
    "embed_text": "text",
}
# The parts, each between two moments of `moments`, in the order of a request; "engine" lies inside "steps".
PARTS = {
    "client and network, there": ("sent", "read"),
    "Triton: front end and queue": ("read", "computing"),
    "Triton: inputs copied": ("computing", "copied"),
    "hop to the Python process": ("copied", "called"),
    "Python: our code and pb_utils": ("called", "returned"),
    "engine": ("run", "ran"),
    "hop back": ("returned", "answered"),
    "client and network, back": ("answered", "received"),
}
COLOURS = ("#c6dbef", "#6baed6", "#2171b5", "#fdae6b", "#e6550d", "#31a354", "#fdae6b", "#c6dbef")
# The names of Triton's trace, by protocol, for the moments that it gives.
TRACED = {
    "grpc": {"read": "GRPC_WAITREAD_END"},
    "http": {"read": "HTTP_RECV_START"},
}
TRACED_ALWAYS = {"computing": "COMPUTE_START", "copied": "COMPUTE_INPUT_END", "answered": "INFER_RESPONSE_COMPLETE"}
RECORDING_MODEL = '''
"""The model beside it, with the moments of each call written down at its end."""
import json
import time

{served}


class TritonPythonModel(TritonPythonModel):
    def initialize(self, args):
        config = json.loads(args["model_config"]) | {{"default_model_filename": "model.onnx"}}
        super().initialize({{**args, "model_config": json.dumps(config)}})
        self.calls, self.now = [], {{}}
        run = self.engine.run

        def recorded(names, feeds):
            self.now["run"] = time.monotonic_ns()
            outputs = run(names, feeds)
            self.now["ran"] = time.monotonic_ns()
            return outputs

        self.engine.run = recorded

    def execute(self, requests):
        self.now["called"] = time.monotonic_ns()
        responses = super().execute(requests)
        self.calls.append({{"id": requests[0].request_id(), **self.now, "returned": time.monotonic_ns()}})
        return responses

    def finalize(self):
        with open({file!r}, "w", encoding="utf-8") as file:
            json.dump(self.calls, file)
'''
BACKEND = "from ai102_runtime.onnx.backend import TritonPythonModel"

Moments = dict[str, int]


@dataclass(frozen=True)
class RequestPath:
    """The medians of a model's parts over one protocol, in microseconds; `whole` is that of the client."""

    model: str
    protocol: str
    parts: Mapping[str, float]
    whole: float


def recording_repository(folder: Path) -> Mapping[str, Path]:
    """Copies of MODELS in `folder`/repository that record their calls; the file of each model's record."""
    records = {}
    write_one_ms(BENCH / "repository")
    for model in MODELS:
        source = (BENCH / "repository" if model == "one_ms" else ROOT / "model_repository") / model
        copy, records[model] = folder / "repository" / model, folder / f"{model}.json"
        (copy / "1").mkdir(parents=True)
        newest = max((int(path.name), path) for path in source.iterdir() if path.name.isdecimal())[1]
        for path in [*newest.iterdir(), *source.glob("labels.txt"), *source.glob("warmup")]:
            if path.name not in ("model.py", "__pycache__"):
                (copy / "1" / path.name if path.parent == newest else copy / path.name).symlink_to(path)
        config = text_format.Parse((source / "config.pbtxt").read_text(encoding="utf-8"), pb.ModelConfig())
        served = newest / "model.py"
        lines = served.read_text(encoding="utf-8") if served.is_file() else BACKEND
        (copy / "1" / "model.py").write_text(
            RECORDING_MODEL.format(served=lines, file=str(records[model])), encoding="utf-8"
        )
        config.backend, config.platform, config.default_model_filename = "python", "", ""
        (copy / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")
    return records


def ask(triton: Any, protocol: str, model: str, arrays: Arrays, identity: str) -> Moments:
    """One call with tritonclient, its arrays encoded and decoded, and when it began and ended."""
    library = LIBRARIES[protocol]
    sent = time.monotonic_ns()
    inputs = []
    for name, array in arrays.items():
        inputs.append(library.InferInput(name, array.shape, tritonclient.utils.np_to_triton_dtype(array.dtype)))
        inputs[-1].set_data_from_numpy(array)
    result = triton.infer(model, inputs, request_id=identity)
    response = result.get_response()
    outputs = response["outputs"] if protocol == "http" else response.outputs
    for output in outputs:
        result.as_numpy(output["name"] if protocol == "http" else output.name)
    return {"sent": sent, "received": time.monotonic_ns()}


def asked(server: Server, samples: Mapping[str, Sequence[Arrays]]) -> dict[str, Moments]:
    """The client's moments of every counted request, by its id MODEL.PROTOCOL.NUMBER."""
    moments: dict[str, Moments] = {}
    for protocol, library in LIBRARIES.items():
        url = server.grpc_url if protocol == "grpc" else server.http_url
        with library.InferenceServerClient(url) as triton:
            for model, arrays in samples.items():
                one: Callable[..., Moments] = partial(ask, triton, protocol, model)
                for turn in range(WARM + COUNTED):
                    identity = f"{model}.{protocol}.{turn}"
                    at = one(arrays[turn % len(arrays)], identity)
                    if turn >= WARM:
                        moments[identity] = at
    return moments


def traced(file: Path) -> dict[str, dict[str, int]]:
    """Triton's moments by request id. A trace is several JSON objects with the same number."""
    by_number: dict[int, dict[str, int]] = {}
    names: dict[int, str] = {}
    for entry in json.loads(file.read_text(encoding="utf-8")):
        if "request_id" in entry:
            names[entry["id"]] = entry["request_id"]
        for stamp in entry.get("timestamps", ()):
            by_number.setdefault(entry["id"], {})[stamp["name"]] = stamp["ns"]
    return {names[number]: stamps for number, stamps in by_number.items() if number in names}


def paths(
    client: Mapping[str, Moments], triton: Mapping[str, Mapping[str, int]], python: Mapping[str, Moments]
) -> list[RequestPath]:
    """The medians of all requests whose moments are all known."""
    found: dict[tuple[str, str], list[Moments]] = {}
    for identity, at in client.items():
        model, protocol, _ = identity.split(".")
        stamps, names = triton.get(identity, {}), {**TRACED[protocol], **TRACED_ALWAYS}
        if identity in python and set(names.values()) <= stamps.keys():
            both = {**at, **python[identity], **{moment: stamps[name] for moment, name in names.items()}}
            found.setdefault((model, protocol), []).append(both)
    return [_medians(*both, found[both]) for both in sorted(found)]


def _medians(model: str, protocol: str, rows: list[Moments]) -> RequestPath:
    def median(start: str, end: str) -> float:
        return float(np.median([row[end] - row[start] for row in rows]) / 1000)

    parts = {part: median(*ends) for part, ends in PARTS.items()}
    parts["Python: our code and pb_utils"] -= parts["engine"]
    return RequestPath(model, protocol, parts, median("sent", "received"))


def table_of(found: Sequence[RequestPath]) -> Table:
    shown = [f"{path.model}, {path.protocol}" for path in found]
    table = Table("microseconds", *shown, title="The time of one request, medians", title_justify="left", box=None)
    for part in PARTS:
        table.add_row(part, *(f"{path.parts[part]:.0f}" for path in found))
    table.add_row("the whole, as the client sees it", *(f"{path.whole:.0f}" for path in found))
    return table


def write_picture(found: Sequence[RequestPath], title: str, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(11, 0.55 * len(found) + 1.9))
    for row, path in enumerate(reversed(found)):
        left = 0.0
        for (part, width), colour in zip(path.parts.items(), COLOURS, strict=True):
            axis.barh(row, width, left=left, color=colour, edgecolor="white", label=part if not row else None)
            if width > 60:
                axis.text(left + width / 2, row, f"{width:.0f}", ha="center", va="center", fontsize=7)
            left += width
    axis.set_yticks(range(len(found)), [f"{path.model}, {path.protocol}" for path in reversed(found)], fontsize=8)
    axis.set_xlabel("microseconds, medians; one request in flight", fontsize=8)
    axis.set_title(title, fontsize=9)
    axis.legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def samples_of(model: str) -> list[dict[str, NDArray[Any]]]:
    """Inputs of the benchmark for that model."""
    return [dict(arrays) for arrays in MAKERS[MODELS[model]](Screen()).inputs[model][:8]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build")
    output: Path = parser.parse_args().output
    console = Console(width=200)
    samples = {model: samples_of(model) for model in MODELS}
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        records = recording_repository(Path(folder))
        settings = ("mode=triton", f"triton,file={trace}", "rate=1", "level=TIMESTAMPS")
        arguments = [word for setting in settings for word in ("--trace-config", setting)]
        repository = Path(folder) / "repository"
        server = Server(repository, http_port=0, grpc_port=0, metrics_port=0, extra_arguments=arguments)
        with served_on(SERVER_CORE, server):
            pin_this_process({CLIENT_CORE})
            client = asked(server, samples)
        python = {
            call["id"]: call for record in records.values() for call in json.loads(record.read_text(encoding="utf-8"))
        }
        found = paths(client, traced(trace), python)
    machine = f"{re.sub(r'[(]R[)]', '', cpu_name())}, one core for the server, {datetime.now(UTC).date()}"
    console.print(table_of(found))
    rows = [{"model": path.model, "protocol": path.protocol, "us": path.parts, "whole": path.whole} for path in found]
    output.mkdir(parents=True, exist_ok=True)
    file = output / "request_path.json"
    file.write_text(json.dumps({"machine": machine, "requests": COUNTED, "paths": rows}, indent=1) + "\n")
    write_picture(found, f"Where the time of one request goes ({machine})", file.with_suffix(".png"))
    console.print(f"{machine}; written: {file} and {file.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
