"""Asks docker, kubectl and nvidia-smi, within bounds: a program that does not answer is killed with all it started."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai102.preflight.machine import Docker, Gpu, Gpus, Kubernetes

TIMEOUT_S = 8.0
GPU_FIELDS = ("index", "name", "compute_cap", "driver_version", "memory.total", "memory.used")
CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")


@dataclass(frozen=True)
class Answer:
    """What a program said; `trouble` is one line where it is missing, failed or did not answer."""

    output: str
    trouble: str


def asked(command: Sequence[str], timeout_s: float = TIMEOUT_S) -> Answer:
    """Run the program of PATH, with messages in English."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as err:
        missing = isinstance(err, FileNotFoundError)
        return Answer("", f"no {command[0]} on PATH" if missing else f"{command[0]} does not start: {err.strerror}")
    with process:
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except BaseException as err:
            # What it started may hold its pipes: without the whole group, this would wait for them.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(err, subprocess.TimeoutExpired):
                raise
            return Answer("", f"{command[0]} does not answer within {timeout_s:g} s")
    text = output.decode("utf-8", "replace")
    if process.returncode == 0:
        return Answer(text, "")
    said = (errors.decode("utf-8", "replace").strip() or text.strip()).splitlines()
    return Answer(text, said[-1] if said else f"{command[0]} ends with status {process.returncode}")


def docker(timeout_s: float = TIMEOUT_S) -> Docker:
    """Docker's client, server and Compose."""
    told = asked(["docker", "version", "--format", "{{json .}}"], timeout_s)
    versions = _json(told.output)
    client, server = (_text_at(versions, side, "Version") for side in ("Client", "Server"))
    compose = next(
        (
            version
            for command in (["docker", "compose"], ["docker-compose"])
            if (version := _version(asked([*command, "version", "--short"], timeout_s).output))
        ),
        None,
    )
    trouble = "" if server else told.trouble or "the client names no server"
    return Docker(client, server, compose, bool(server) and _docker_runs_gpus(timeout_s), trouble)


def kubernetes(timeout_s: float = TIMEOUT_S) -> Kubernetes:
    """kubectl, and the cluster that it is set up for."""
    told = asked(["kubectl", "version", "--output=json", "--request-timeout=5s"], timeout_s)
    versions = _json(told.output)
    client, server = (_text_at(versions, side, "gitVersion") for side in ("clientVersion", "serverVersion"))
    return Kubernetes(client, server, "" if server else told.trouble or "kubectl names no cluster")


def gpus(timeout_s: float = TIMEOUT_S) -> Gpus:
    """NVIDIA's driver and GPUs, as nvidia-smi has them."""
    fields = ",".join(GPU_FIELDS)
    told = asked(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"], timeout_s)
    rows = [] if told.trouble else [line.split(", ") for line in told.output.splitlines()]
    rows = [row for row in rows if len(row) == len(GPU_FIELDS)]
    if not rows:
        return Gpus(None, (), told.trouble or "nvidia-smi names no GPU")
    found = tuple(
        Gpu(int(number), name, capability, _mebibytes(total), _mebibytes(used))
        for number, name, capability, _, total, used in rows
    )
    return Gpus(rows[0][3], found, "")


def _docker_runs_gpus(timeout_s: float) -> bool:
    """Whether NVIDIA's Container Toolkit is set up: as a runtime of Docker, or by device files (CDI)."""
    runtimes = asked(["docker", "info", "--format", "{{json .Runtimes}}"], timeout_s).output
    devices = any("nvidia" in file.name for folder in CDI_FOLDERS for file in Path(folder).glob("*"))
    return "nvidia" in (_json(runtimes) or {}) or devices


def _mebibytes(text: str) -> int | None:
    return int(text) << 20 if text.isdecimal() else None  # "[N/A]" where a GPU shares the machine's memory


def _version(text: str) -> str | None:
    match = re.search(r"\d+\.\d+\S*", text)
    return match[0] if match else None


def _json(text: str) -> Any:
    """The first JSON value of a program's output; None when there is none."""
    try:
        return json.JSONDecoder().raw_decode(text.strip())[0]
    except ValueError:
        return None


def _text_at(value: Any, *keys: str) -> str | None:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
