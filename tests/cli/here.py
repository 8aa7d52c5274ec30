"""`ai102` in the process of the test: a list of mistakes need not wait for a start each."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from ai102.cli import main


class Done(NamedTuple):
    status: int
    output: str
    complaint: str


def ai102(*words: str, cwd: Path, stdin: str = "") -> Done:
    """As a process of its own would end; what Python does at the end of a process is not done."""
    before = sys.argv, sys.stdin, sys.unraisablehook, signal.getsignal(signal.SIGTERM), Path.cwd()
    sys.argv, sys.stdin = ["ai102", *words], TextIOWrapper(BytesIO(stdin.encode()))
    os.chdir(cwd)
    status: object = 0
    try:
        with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as complaint:
            main.main()
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.argv, sys.stdin, sys.unraisablehook = before[:3]
        signal.signal(signal.SIGTERM, before[3])
        os.chdir(before[4])
    assert isinstance(status, int), status
    return Done(status, output.getvalue(), complaint.getvalue())
