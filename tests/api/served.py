"""The API as a person starts it, before a real Triton."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ai102.samples import read
from tests.servers import Server

ROOT = Path(__file__).parent.parent.parent
DIGITS = read.read_samples(ROOT / "calibration" / "sets", "digits", "test")
LABELS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
COMMAND = [sys.executable, "-m", "ai102", "api", "serve"]


class Served(NamedTuple):
    """Where both listen, and the API's process and log."""

    url: str
    triton: Server
    process: "subprocess.Popen[str]"
    log: list[str]


@contextmanager
def served(triton: Server, options: Sequence[str] = ()) -> Iterator[Served]:
    command = [*COMMAND, "--listen", "127.0.0.1:0", "--url", f"grpc://{triton.grpc_url}", *options]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(process.stdout or ()), daemon=True)
    try:
        line = process.stderr.readline()
        assert line.startswith("ready: http://"), line + process.stderr.read()
        reader.start()
        yield Served(line.split()[1], triton, process, log)
    finally:
        process.terminate()
        process.wait(timeout=20)
        if reader.is_alive():
            reader.join(timeout=5)
        process.stdout.close()
        process.stderr.close()


def digit(number: int, kind: str = "PNG", edge: int = 64) -> tuple[bytes, str]:
    """A handwritten digit of the test set, enlarged, and its label."""
    out = BytesIO()
    image = Image.open(BytesIO(DIGITS.items[number])).resize((edge, edge), Image.Resampling.NEAREST)
    image.convert("RGB").save(out, kind, quality=95)
    return out.getvalue(), LABELS[DIGITS.labels[number]]
