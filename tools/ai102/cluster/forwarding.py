"""Ports of a replica on this machine, by kubectl, while a command runs that asks it."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ai102.cluster.asking import Kubectl
from ai102.errors import UserError

# By the word that a command writes for HOST:PORT.
PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}
FORWARDING = re.compile(r"^Forwarding from (127\.0\.0\.1:\d+) -> (\d+)$")
END_TIMEOUT_S = 10.0


@contextmanager
def forwarded(kubectl: Kubectl, target: str) -> Iterator[Mapping[str, str]]:
    """HOST:PORT by the words of PORTS, of one pod behind `target`, as service/triton.

    Raises UserError with kubectl's complaint, or when it does not forward within kubectl's time.
    """
    where = [kubectl.program, *kubectl.options, "--namespace", kubectl.namespace]
    command = [*where, "port-forward", "--address=127.0.0.1", target, *(f":{port}" for port in PORTS.values())]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError as err:
        raise UserError(f"{kubectl.program}: {err.strerror}: install kubectl, or put it on PATH") from err
    assert process.stdout is not None
    addresses: dict[int, str] = {}
    lines: list[str] = []
    is_there = threading.Event()

    def read(stream: Iterator[str]) -> None:
        """To the end: a full pipe would stop kubectl."""
        for text in stream:
            if match := FORWARDING.match(text.strip()):
                addresses[int(match[2])] = match[1]
            elif not text.startswith(("Forwarding from", "Handling connection")):
                lines.append(text.strip())
            if len(addresses) == len(PORTS):
                is_there.set()
        is_there.set()

    reader = threading.Thread(target=read, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        is_there.wait(kubectl.timeout_s)
        if len(addresses) < len(PORTS):
            said = lines[-1] if lines else f"nothing within {kubectl.timeout_s:g} s"
            raise UserError(f"kubectl port-forward {target}: {said}: {kubectl.advice}")
        yield {word: addresses[port] for word, port in PORTS.items()}
    finally:
        process.terminate()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(END_TIMEOUT_S)


def filled_in(words: Sequence[str], addresses: Mapping[str, str]) -> list[str]:
    """The command with {http}, {grpc} and {metrics} replaced by HOST:PORT; other braces stay."""
    return [re.sub(r"\{(\w+)\}", lambda match: addresses.get(match[1], match[0]), word) for word in words]
