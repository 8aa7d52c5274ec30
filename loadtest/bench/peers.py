"""The peers (servers of other frameworks), their virtual environment, and their requests."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ai102.progress import Reporter
from loadtest.bench.goals import CHOSEN
from loadtest.bench.load import Answer, HttpRequest
from loadtest.bench.works import BENCH, Work

PEERS_FOLDER = Path(__file__).parents[1] / "peers"
REQUIREMENTS = PEERS_FOLDER / "requirements.txt"
VENV = BENCH / "venv"


class CannotRunError(Exception):
    """The reason why a server is not measured, in one line."""


@dataclass(frozen=True)
class Peer:
    """`variants` are documented ways to write the server; the fastest in a trial is measured, or the first."""

    name: str
    script: str
    variants: tuple[str, ...]
    distribution: str
    requests: Callable[[Work, str], list[HttpRequest]]
    has_chosen_engine: bool = False  # else ONNX Runtime, as its users write it

    @property
    def key(self) -> str:
        """What --only calls it."""
        return f"{self.distribution}-chosen" if self.has_chosen_engine else self.distribution

    def engine(self, work: Work) -> str:
        """Raises CannotRunError where the row would repeat another one."""
        if self.has_chosen_engine and work.engine == "onnxruntime":
            raise CannotRunError("the chosen engine is ONNX Runtime")
        return work.engine if self.has_chosen_engine else "onnxruntime"


def raw_requests(work: Work, variant: str) -> list[HttpRequest]:
    return [HttpRequest(sample, {"Content-Type": "application/octet-stream"}) for sample in work.samples]


def bentoml_requests(work: Work, variant: str) -> list[HttpRequest]:
    """BentoML's batchable API takes lists: files of a form, or JSON."""
    if variant == "plain":
        return raw_requests(work, variant)
    if work.kind == "image":
        return [_form("images", sample) for sample in work.samples]
    values: Sequence[Any]
    if work.kind == "text":
        key, values = "texts", [[sample.decode()] for sample in work.samples]
    else:
        key, values = "tensors", [array.tolist() for arrays in work.inputs[work.model] for array in arrays.values()]
    return [HttpRequest(json.dumps({key: value}).encode(), {"Content-Type": "application/json"}) for value in values]


def _form(field: str, data: bytes) -> HttpRequest:
    boundary = "bench-of-ai102"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="x.png"\r\n'
    body = head.encode() + b"Content-Type: image/png\r\n\r\n" + data + f"\r\n--{boundary}--\r\n".encode()
    return HttpRequest(body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})


PEERS = (
    Peer("FastAPI", "fastapi_peer.py", ("inline", "threadpool"), "fastapi", raw_requests),
    Peer(CHOSEN, "fastapi_peer.py", ("inline", "threadpool"), "fastapi", raw_requests, has_chosen_engine=True),
    Peer("LitServe", "litserve_peer.py", ("batched", "plain"), "litserve", raw_requests),
    Peer("BentoML", "bentoml_peer.py", ("plain", "batched"), "bentoml", bentoml_requests),
    Peer("Ray Serve", "ray_peer.py", ("batched", "plain"), "ray", raw_requests),
)


def value_from_answer(answer: Answer, kind: str) -> Any:
    """The value of a peer's answer: a label, or a row of floats."""
    if answer.headers.get("Content-Type", "").startswith("application/json"):
        value = json.loads(answer.body)
        while isinstance(value, list) and value and isinstance(value[0], list | dict):
            value = value[0]
        return value["label"] if kind == "image" else np.array(value, dtype=np.float32)
    return np.frombuffer(answer.body, dtype=np.float32)


def python_of_peers(report: Reporter, requirements: Path = REQUIREMENTS, venv: Path = VENV) -> Path:
    """The Python of the peers' environment, installed once. Raises CannotRunError when pip cannot install it."""
    digest_file = venv / "made_from"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    python = venv / "bin" / "python"
    if digest_file.is_file() and digest_file.read_text(encoding="utf-8") == digest:
        return python
    with report.step(f"install the peers into build/{venv.parent.name}/{venv.name}, once"):
        _run([sys.executable, "-m", "venv", "--clear", str(venv)])
        _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(requirements)])
    digest_file.write_text(digest, encoding="utf-8")
    return python


def versions_of_peers(python: Path, peers: Sequence[Peer]) -> Mapping[str, str]:
    return versions_of(python, [*(peer.distribution for peer in peers), "uvicorn", "onnxruntime", "openvino"])


def versions_of(python: Path, names: Sequence[str]) -> Mapping[str, str]:
    """Of distributions in that Python's environment."""
    code = f"import json; from importlib.metadata import version; print(json.dumps({{n: version(n) for n in {names}}}))"
    installed: dict[str, str] = json.loads(_run([str(python), "-c", code]))
    return installed


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        reason = next((line for line in reversed(lines) if "rror" in line), lines[-1])
        raise CannotRunError(f"could not be installed ({reason.strip()[:200]})")
    return done.stdout
