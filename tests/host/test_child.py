"""A guarded child: it ends with its parent, however that ends, and takes all that it started along."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ai102.host.child import Child

# A parent that starts a child (a shell with a child of its own), says both numbers, and waits.
PARENT = """
import subprocess, sys, time
from ai102.host.child import Child
child = Child(
    ["/bin/sh", "-c", sys.argv[1]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, grace_s=1, leftovers=sys.argv[2]
)
print(child.pid, child.stdout.readline().decode().strip(), flush=True)
time.sleep(60)
"""


def until(holds: Callable[[], bool], what: str, within_s: float = 20) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "script", ["sleep 60 & echo $!; wait", "trap '' TERM; sleep 60 & echo $!; wait; wait; sleep 60"]
)
def test_a_parent_that_is_killed_takes_the_child_and_its_children_along(script: str, tmp_path: Path) -> None:
    (tmp_path / "left_1").touch()
    command = [sys.executable, "-c", PARENT, script, str(tmp_path / "left_")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert [is_running(pid) for pid in pids] == [True, True]
        parent.kill()
    until(lambda: not any(is_running(pid) for pid in pids), "both are gone")
    until(lambda: not any(tmp_path.iterdir()), "what it left is gone")


def test_a_child_is_asked_to_end_and_its_status_is_known() -> None:
    child = Child(["/bin/sh", "-c", "trap 'exit 7' TERM; echo; sleep 60 & wait"], stdout=subprocess.PIPE,
                  stderr=subprocess.DEVNULL, grace_s=1)  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    assert (child.wait(0.01), child.status) == (None, None)
    child.ask_to_end(signal.SIGTERM, 10)
    child.kill()
    child.reap()
    assert child.status == 7
    child.stdout.close()


def test_a_guardian_that_cannot_be_started_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    popen = subprocess.Popen

    def second_fails(*arguments: object, **options: object) -> object:
        if started:
            raise OSError(24, os.strerror(24))
        process = popen(*arguments, **options)  # type: ignore[call-overload]
        started.append(process.pid)
        return process

    monkeypatch.setattr(subprocess, "Popen", second_fails)
    with pytest.raises(OSError, match="Too many open files"):
        Child(["/bin/sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, grace_s=1)
    assert not is_running(started[0])
