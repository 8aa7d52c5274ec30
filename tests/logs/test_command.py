"""`ai102 masking apply --follow` as a process: killed again and again, ended by TERM, and its refusals."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ai102.host.child import Child
from tests.access_log.rows import HAPROXY_REST
from tests.gateway.conftest import wait_until
from tests.logs.conftest import RULES, documents, messages

COMMAND = [sys.executable, "-c", "from ai102.cli.main import main; main()", "masking", "apply"]

CONTRACT = Path(__file__).parent.parent.parent / "models.toml"


def masker(folder: Path, *more: str) -> Child:
    options = [*more, "--follow", "--rules", str(RULES), "--spool", str(folder / "spool"), str(folder / "*.log")]
    with (folder / "masker.err").open("ab") as log:
        return Child([*COMMAND, *options], stdout=log, stderr=log, grace_s=2)


def written(folder: Path) -> list[str]:
    return messages(folder / "spool") if (folder / "spool").exists() else []


@pytest.mark.slow
def test_kill_9_at_any_moment_neither_loses_nor_repeats_a_line(tmp_path: Path) -> None:
    log, count = tmp_path / "a.log", 2000
    for begin in range(0, 5 * count, count):
        running = masker(tmp_path)
        for step in range(begin, begin + count, 200):
            write(log, range(step, step + 200))
        wait_until(lambda least=begin + 500: len(written(tmp_path)) > least, "some of the lines")  # type: ignore[misc]
        running.kill()
        running.reap()
        for old in sorted(tmp_path.glob("a.log.*"), reverse=True):
            old.rename(old.with_suffix(f".{int(old.suffix[1:]) + 1}"))
        log.rename(tmp_path / "a.log.1")
    write(log, range(5 * count, 5 * count + 1))
    running = masker(tmp_path)
    try:
        wait_until(lambda: len(written(tmp_path)) > 5 * count, "all lines")
        running.ask_to_end(signal.SIGTERM, 10)
        assert running.status == 0
    finally:
        running.kill()
        running.reap()
    assert sorted(written(tmp_path)) == sorted(f"no {number}, tel [phone]" for number in range(5 * count + 1))


def write(log: Path, numbers: range) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.writelines(f"no {number}, tel 13800138000\n" for number in numbers)


def test_by_the_contract_a_pipeline_that_a_replica_lacks_has_failed(tmp_path: Path) -> None:
    row = {"address": "127.0.0.1"} | HAPROXY_REST | {"status": 404}
    (tmp_path / "a.log").write_text(json.dumps(row) + "\n", encoding="utf-8")
    running = masker(tmp_path, "--contract", str(CONTRACT))
    try:
        wait_until(lambda: len(written(tmp_path)) == 1, "the row")
    finally:
        running.kill()
        running.reap()
    [document] = documents(tmp_path / "spool")
    assert document["labels"]["outcome"] == "failed"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--spool", "x", "a.log"], "--spool, --read-by, --contract and several files are for --follow"),
        (["a.log", "b.log"], "--spool, --read-by, --contract and several files are for --follow"),
        (["--follow", "a.log"], "name the logs, and --spool DIR"),
        (["--follow", "--spool", "x"], "name the logs, and --spool DIR"),
        (["--follow", "--spool", "x", "-"], "name the logs, and --spool DIR"),
    ],
)
def test_options_that_do_not_fit_are_one_line(options: list[str], complaint: str, tmp_path: Path) -> None:
    command = [*COMMAND, "--rules", str(RULES), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert complaint in done.stderr
