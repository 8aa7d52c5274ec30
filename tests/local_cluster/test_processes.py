"""A process is who it is by its start time too: a signal never reaches another with the same number."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from k8s.local.processes import Process, children_of, end, identified, is_running, send, wait_for_end

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def known(pid: int) -> Process:
    process = identified(pid)
    assert process is not None
    return process


def test_a_signal_reaches_the_process(child: subprocess.Popen[bytes]) -> None:
    process = known(child.pid)
    assert send(process, signal.SIGTERM)
    assert wait_for_end([process], 10) == []
    assert child.wait() == -signal.SIGTERM


def test_a_signal_does_not_reach_a_later_process_of_the_same_number(child: subprocess.Popen[bytes]) -> None:
    earlier = replace(known(child.pid), started=known(child.pid).started - 1)
    assert not is_running(earlier)
    assert not send(earlier, signal.SIGKILL)
    assert child.poll() is None


def test_a_process_of_before_a_restart_of_the_machine_does_not_run(child: subprocess.Popen[bytes]) -> None:
    assert not is_running(replace(known(child.pid), boot="another"))


def test_one_that_has_ended_and_is_not_collected_does_not_run(child: subprocess.Popen[bytes]) -> None:
    process = known(child.pid)
    child.kill()
    assert wait_for_end([process], 10) == []
    assert not is_running(process)


def test_one_that_ignores_term_is_killed() -> None:
    child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert end([known(child.pid)], 0.2) == []
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()


def test_a_running_process_is_told_when_the_wait_is_over(child: subprocess.Popen[bytes]) -> None:
    assert wait_for_end([known(child.pid)], 0.05) == [known(child.pid)]


def test_the_children_of_a_process_are_known(child: subprocess.Popen[bytes]) -> None:
    assert known(child.pid) in children_of(known(os.getpid()))
