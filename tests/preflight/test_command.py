"""`ai102 preflight` on this machine, and how its lines look in a terminal."""

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console

from ai102.cli.verdicts import STYLES, show
from ai102.preflight.formats import json_of, summary, text_of
from ai102.preflight.profiles import PROFILES
from ai102.preflight.run import Line, judged
from tests.preflight.machines import FIT, NO_GPUS, machine

ROOT = Path(__file__).parents[2]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LINES = (
    Line("cores", "unfit", "2", "at least 4", "use a machine with 4 cores; with fewer, the same runs more slowly"),
    Line("disk space", "ok", "70.0 GB free in /a/rather/long/folder/[of]/a/user", "at least 10 GB", ""),
    Line("Compose", "note", "missing", "at least 2.20", "apt-get install docker-compose-plugin"),
)


def drawn(width: int, *, coloured: bool) -> str:
    """What a terminal of that width gets."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, highlight=False, no_color=not coloured)
    show(console, LINES, summary("dev", LINES))
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_a_terminal_of_any_width_shows_every_word(width: int) -> None:
    text = COLOUR.sub("", drawn(width, coloured=True))
    assert max(len(line) for line in text.splitlines()) <= width
    words = {
        word for line in LINES for part in (line.name, line.verdict, line.wanted, line.advice) for word in part.split()
    }
    assert {word for word in words if word not in text} == set()
    assert "[of]" in text.replace("\n", "").replace(" ", "")


def test_without_colour_the_verdict_is_a_word() -> None:
    text = drawn(80, coloured=False)
    assert re.findall(r"\x1b\[[0-9;]*3\d", text) == []
    assert [verdict for verdict in STYLES if verdict not in text] == []


def test_text_is_a_line_a_check_and_json_has_the_numbers() -> None:
    bad = machine("memory", total_bytes=2 << 30)
    lines = judged(bad, PROFILES["dev"], None)
    assert len(text_of(lines).splitlines()) == len(lines)
    memory = next(line for line in text_of(lines).splitlines() if " memory: " in line)
    assert memory == "unfit memory: 2.1 GB (2.0 GiB), wanted at least 16 GB: use a machine with 16 GB"
    whole = json.loads(json_of("dev", lines, bad))
    assert (whole["profile"], whole["is_fit"], whole["machine"]["memory"]["total_bytes"]) == ("dev", False, 2 << 30)
    assert [check["name"] for check in whole["checks"]] == [line.name for line in lines]


def test_the_summary_names_what_decides_and_what_is_to_note() -> None:
    assert summary("dev", LINES) == "unfit for dev: cores; to note: Compose"
    assert summary("dev", LINES[1:]) == "fit for dev; to note: Compose"
    assert summary("gpu", judged(FIT, PROFILES["gpu"], None)) == "fit for gpu"
    no_gpu = judged(machine("machine", gpus=NO_GPUS), PROFILES["gpu"], None)
    assert summary("gpu", no_gpu) == "unfit for gpu: NVIDIA driver, GPU memory"


def preflight(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "ai102", "preflight", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


@pytest.mark.slow
def test_this_machine_is_judged_and_nothing_is_left(tmp_path: Path) -> None:
    done = preflight("--format", "json", "--folder", str(tmp_path))
    whole = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0 if whole["is_fit"] else 1, "")
    memory, processor = whole["machine"]["memory"], whole["machine"]["processor"]
    assert memory["total_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert processor["allowed"] == sorted(os.sched_getaffinity(0))
    assert whole["machine"]["disk"]["speed"]["write_mb_s"] > 0
    assert "Python models" in [check["name"] for check in whole["checks"]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_folder_without_a_contract_is_judged_without_its_settings(tmp_path: Path) -> None:
    done = preflight("--profile", "production", cwd=tmp_path)
    assert done.returncode in (0, 1)
    *checks, last = done.stdout.splitlines()
    assert [line for line in checks if not re.match(r"(ok   |note |unfit) \w[\w ]*: .+, wanted .+", line)] == []
    assert "Python models" not in done.stdout
    assert last.startswith(("fit for production", "unfit for production: "))


@pytest.mark.slow
def test_a_narrow_terminal_without_colour_is_readable(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    command = [sys.executable, "-m", "ai102", "preflight", "--folder", str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "FORCE_COLOR")}
    with subprocess.Popen(
        command, stdout=its, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment | {"NO_COLOR": "1", "TERM": "xterm"}
    ) as process:
        os.close(its)
        text = everything_from(ours)
        assert process.wait(timeout=120) in (0, 1)
    assert re.findall(r"\x1b\[[0-9;]*3\d", text) == []
    lines = COLOUR.sub("", text).splitlines()
    assert max(len(line) for line in lines) <= 60
    assert any(line.startswith(("ok    cores: ", "unfit cores: ")) for line in lines)


def everything_from(terminal: int) -> str:
    """What is written to a terminal until its other end is closed."""
    with os.fdopen(terminal, "rb", buffering=0) as file:
        parts = []
        while True:
            try:
                part = file.read(65536)
            except OSError:  # Linux says EIO where a pipe would be at its end
                part = b""
            if not part:
                return b"".join(parts).decode()
            parts.append(part)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--folder", "nowhere"],
            "ai102: --folder nowhere: No such file or directory: name the folder where models and images will lie",
        ),
        (
            ["--contract", "nowhere.toml"],
            "ai102: nowhere.toml: no such file; run this in the folder that holds nowhere.toml",
        ),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], line: str, tmp_path: Path) -> None:
    done = preflight(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{line}\n")
