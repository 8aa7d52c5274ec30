"""`ai102 masking apply` as a pipe: nothing lost, nothing reordered, a clean end whatever ends it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from .conftest import RULES

COMMAND = [sys.executable, "-c", "from ai102.cli.masking import app; app()", "apply", "--rules", str(RULES)]
NUMBERED = [b"no %d, tel 13800138000\n" % number for number in range(2000)]  # some 50 kB: a pipe holds them
MASKED = [b"no %d, tel [phone]\n" % number for number in range(2000)]


class Pipe:
    """The pipe while it runs."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.process, self.stdin, self.stdout = process, stdin, stdout

    def write(self, data: bytes) -> None:
        self.stdin.write(data)
        self.stdin.flush()

    def end(self) -> tuple[list[bytes], int]:
        lines = self.stdout.readlines()
        return lines, self.process.wait(20)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Started, with its first line passed on."""
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        running = Pipe(process, process.stdin, process.stdout)
        try:
            running.write(b"tel 13800138000\n")
            assert running.stdout.readline() == b"tel [phone]\n"
            yield running
        finally:
            process.kill()


def apply(given: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(COMMAND, input=given, capture_output=True, timeout=60, check=False)


def test_every_byte_that_can_be_is_masked_and_the_others_stay() -> None:
    done = apply(b"\xff\xfe tel 13800138000\r\n\x00\n\xe4\xb8 10.1.2.3 no newline at the end")
    expected = b"\xff\xfe tel [phone]\r\n\x00\n\xe4\xb8 [ip] no newline at the end"
    assert (done.stdout, done.stderr, done.returncode) == (expected, b"", 0)


def test_no_line_is_lost_or_reordered_and_a_bad_one_stops_nothing() -> None:
    bad = b'{"n": 1e400, "tel": "13800138000"}\n'
    done = apply(b"".join([*NUMBERED[:1000], bad, *NUMBERED[1000:]]) + b"1" * 300_000)
    lines = done.stdout.splitlines(keepends=True)
    assert lines[1000] == b'{"message": "[masking failed: ValueError]"}\n'
    assert lines[:1000] + lines[1001:-1] == MASKED
    assert (lines[-1], done.stderr, done.returncode) == (b"1" * 300_000, b"", 0)


def test_nothing_in_gives_nothing_out() -> None:
    done = apply(b"")
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 0)


def test_every_line_is_passed_on_before_the_next_is_written(pipe: Pipe) -> None:
    for text in (b"10.1.2.3\n", b'{"phone": 13800138000}\n'):
        pipe.write(text)
        assert pipe.stdout.readline() in (b"[ip]\n", b'{"phone": "[phone]"}\n')
    pipe.stdin.close()
    assert pipe.end() == ([], 0)


def test_after_the_signal_term_all_that_was_written_before_is_passed_on(pipe: Pipe) -> None:
    pipe.write(b"".join(NUMBERED) + b"no end 10.1.2.3")
    pipe.process.send_signal(signal.SIGTERM)
    assert pipe.end() == ([*MASKED, b"no end [ip]"], 0)


def test_ctrl_c_does_not_lose_the_last_words_of_the_program(pipe: Pipe) -> None:
    pipe.process.send_signal(signal.SIGINT)
    pipe.write(b"interrupted: 10.1.2.3\n")
    pipe.stdin.close()
    assert pipe.end() == ([b"interrupted: [ip]\n"], 0)


@pytest.mark.parametrize("arguments", [["-"], ["long.log"]])
def test_a_reader_that_leaves_ends_the_pipe_quietly(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "long.log").write_text("line\n" * 50_000)
    with (
        (tmp_path / "long.log").open("rb") as source,
        subprocess.Popen(
            [*COMMAND, *arguments], cwd=tmp_path, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait(20)) == (b"", 0)
