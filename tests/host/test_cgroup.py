"""The limits of control groups are found in every layout that Linux has."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai102.host.cgroup import Limits, limits_of
from tests.preflight import trees
from tests.preflight.trees import GIB, Files, written

LAYOUTS: dict[str, tuple[Files, Limits]] = {
    "no control groups": ({}, Limits(None, None)),
    "v2, a login without limits": (trees.V2_LOGIN, Limits(None, None)),
    "v2, a container": (trees.V2_CONTAINER, Limits(2 * GIB, 1.5)),
    "v2, a pod that is slowed down before its limit": (trees.V2_POD, Limits(3 * GIB, 4.0)),
    "v2, a group in a smaller one": (trees.V2_NESTED, Limits(2 * GIB, 0.5)),
    "v2, a group outside of the namespace": (trees.V2_OUTSIDE, Limits(2 * GIB, 1.5)),
    "v1, a container": (trees.V1_CONTAINER, Limits(2 * GIB, 1.5)),
    "v1, a container with a namespace of groups": (trees.V1_PRIVATE, Limits(2 * GIB, 1.5)),
    "v1, a group inside of a container": (trees.V1_INSIDE, Limits(GIB, 1.5)),
    "v1, controllers mounted together": (trees.V1_TOGETHER, Limits(2 * GIB, 3.0)),
    "v1 and v2, without limits": (trees.HYBRID, Limits(None, None)),
    "v1 and v2, with limits": (trees.HYBRID_LIMITED, Limits(2 * GIB, 2.5)),
}


@pytest.mark.parametrize(("files", "limits"), LAYOUTS.values(), ids=LAYOUTS)
def test_the_smallest_limit_of_all_groups_counts(files: Files, limits: Limits, tmp_path: Path) -> None:
    assert limits_of(written(tmp_path, files)) == limits


def test_a_tree_without_proc_has_no_limits(tmp_path: Path) -> None:
    assert limits_of(tmp_path) == Limits(None, None)


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A real group of memory with a limit of 1 GiB, which the test's child joins."""
    for parent, name in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = parent / f"ai102-test-{os.getpid()}"
        if (parent / "cgroup.procs").exists():
            try:
                group.mkdir()
                (group / name).write_text(str(GIB))
            except OSError as err:
                if group.is_dir():
                    group.rmdir()
                pytest.skip(f"cannot make a control group: {err.strerror}")
            try:
                yield group
            finally:
                group.rmdir()
            return
    pytest.skip("no control groups are mounted here")


def test_a_process_in_a_real_group_is_on_a_small_machine(small_group: Path) -> None:
    program = (
        "import os, sys, pathlib; pathlib.Path(sys.argv[1], 'cgroup.procs').write_text(str(os.getpid()));"
        "from ai102.host.cgroup import limits_of; print(limits_of(pathlib.Path('/')).memory_bytes)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(small_group)], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) == GIB
