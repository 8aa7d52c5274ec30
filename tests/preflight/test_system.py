"""What is read from /proc and /sys of hosts and containers."""

import platform
from pathlib import Path

import pytest

from ai102.preflight import system
from ai102.preflight.machine import Memory, OpenFiles, Processor
from tests.preflight import trees
from tests.preflight.trees import GIB, Files, written


def test_a_host_is_its_whole_machine(tmp_path: Path) -> None:
    root = written(tmp_path)
    cores = tuple(range(16))
    assert (system.processor(root), system.memory(root), system.kernel(root), system.open_files(root)) == (
        Processor("Some CPU @ 2.00GHz", platform.machine(), 16, cores, None, ("avx2", "avx512_vnni"), (0, 1)),
        Memory(64 * GIB, None, None),
        "6.1.0-18-amd64",
        OpenFiles(1024, 524288),
    )


@pytest.mark.parametrize(
    "files", [trees.V1_CONTAINER, trees.V1_PRIVATE, trees.V2_CONTAINER], ids=["v1", "v1 with a namespace", "v2"]
)
def test_a_container_with_2_gib_on_a_host_with_64_is_a_machine_with_2_gib(files: Files, tmp_path: Path) -> None:
    root = written(tmp_path, files)
    memory, processor = system.memory(root), system.processor(root)
    assert (memory.usable_bytes, memory.total_bytes, processor.usable) == (2 * GIB, 64 * GIB, 1.5)


def test_a_limit_above_the_machine_changes_nothing() -> None:
    assert Memory(8 * GIB, 64 * GIB, None).usable_bytes == 8 * GIB


def test_a_cpuset_leaves_its_cores_and_a_quota_at_most_its_share(tmp_path: Path) -> None:
    pinned = {"proc/self/status": trees.STATUS % "2-3,8"}
    assert system.processor(written(tmp_path / "a", pinned)).usable == 3
    assert system.processor(written(tmp_path / "b", pinned, trees.V2_POD)).usable == 3
    assert system.processor(written(tmp_path / "c", pinned, trees.V2_CONTAINER)).usable == 1.5


def test_cores_that_are_switched_off_are_not_counted(tmp_path: Path) -> None:
    root = written(tmp_path, {"sys/devices/system/cpu/online": "0-3\n"})
    assert (system.processor(root).cores, system.processor(root).usable) == (4, 4)


def test_cores_are_counted_where_the_kernel_does_not_list_them(tmp_path: Path) -> None:
    assert system.processor(written(tmp_path, {"sys/devices/system/cpu/online": ""})).cores == 16


def test_shared_memory_has_the_size_of_its_file_system(tmp_path: Path) -> None:
    (tmp_path / "dev/shm").mkdir(parents=True)
    shared = system.memory(written(tmp_path)).shared_bytes
    assert shared is not None
    assert shared > 0


def test_unlimited_open_files_are_a_large_number(tmp_path: Path) -> None:
    line = "Max open files            unlimited            unlimited            files\n"
    assert system.open_files(written(tmp_path, {"proc/self/limits": line})).soft > 10**9


@pytest.mark.parametrize(
    ("files", "is_container"),
    [
        ({}, False),
        (trees.V1_CONTAINER, True),
        (trees.V2_CONTAINER, True),
        (trees.V2_POD, True),
        (trees.HYBRID, False),  # a virtual machine with the marks of the image that it was made of
    ],
)
def test_a_container_is_told_from_a_machine(files: Files, is_container: bool, tmp_path: Path) -> None:
    assert system.is_container(written(tmp_path, files)) is is_container


def test_this_machine_is_read() -> None:
    root = Path("/")
    processor, memory = system.processor(root), system.memory(root)
    assert 0 < processor.usable <= processor.cores
    assert 0 < memory.usable_bytes <= memory.total_bytes
    assert system.open_files(root).soft > 0
    assert system.kernel(root)
