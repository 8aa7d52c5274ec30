"""What is said of a component that ends, and when one counts as another."""

from dataclasses import replace
from pathlib import Path

import pytest

from ai102.errors import UserError
from k8s.local import components
from k8s.local.components import Component, Record
from k8s.local.plan import CONTROL, Plan
from k8s.local.processes import Process
from k8s.local.waiting import until

ETCD = Component("etcd", CONTROL, ("/bin/etcd", "--a=b"), {Path("/c"): "text"})
GONE = Process(1, -1, "no such boot")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan("ai102-unit", tmp_path)


def test_another_command_file_or_path_is_another_component() -> None:
    others = [
        replace(ETCD, command=("/bin/etcd", "--a=c")),
        replace(ETCD, files={Path("/c"): "other text"}),
        replace(ETCD, path=(Path("/bin"),)),
    ]
    assert len({ETCD.digest, *(other.digest for other in others)}) == 4
    assert replace(ETCD).digest == ETCD.digest


def test_a_component_gets_nothing_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://outside.example:3128")
    assert set(ETCD.environment) == {"PATH", "HOME", "LANG"}


def test_one_that_has_ended_is_named_with_the_last_lines_of_its_log(plan: Plan) -> None:
    log = plan.log(CONTROL, "etcd")
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(100)) + "the disk is full\n")
    components._write(plan, Record("etcd", CONTROL.name, GONE, ETCD.digest))
    with pytest.raises(UserError) as error:
        components.check_all_run(plan, [ETCD])
    lines = str(error.value).splitlines()
    assert lines[0] == f"control: etcd has ended; the last lines of {log}:"
    assert lines[-1] == "  the disk is full"
    assert len(lines) == 1 + components.LAST_LINES


def test_one_that_was_never_started_has_ended_with_nothing(plan: Plan) -> None:
    with pytest.raises(UserError, match=r"etcd has ended; the last lines of .*: nothing"):
        components.check_all_run(plan, [ETCD])


def test_a_record_is_read_as_it_was_written(plan: Plan) -> None:
    record = Record("etcd", CONTROL.name, GONE, ETCD.digest)
    components._write(plan, record)
    assert components.records(plan) == [record]
    assert (record.is_running, record.process) == (False, None)
    components.forget(plan, CONTROL)
    assert components.records(plan) == []


def test_waiting_ends_with_what_did_not_come_true() -> None:
    with pytest.raises(UserError, match=r"not within 0.01 s: the sun rises"):
        until(lambda: False, "the sun rises", 0.01)


def test_waiting_ends_when_a_component_has_ended(plan: Plan) -> None:
    with pytest.raises(UserError, match="etcd has ended"):
        until(lambda: False, "never", 60, lambda: components.check_all_run(plan, [ETCD]))
