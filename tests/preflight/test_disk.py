"""A disk is measured in bounded time and space, and nothing is left of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ai102.preflight import disk
from ai102.preflight.disk import disk_under, kind_of, measured, nameless_file, opened_and_unlinked
from ai102.preflight.machine import DiskKind
from tests.preflight.trees import lines, written

DEVICE = os.makedev(259, 1)
# Prints a line once the file is open, and then writes until it is killed.
ENDLESS = """
import sys
from pathlib import Path
from ai102.preflight import disk
disk.TOTAL, disk.SECONDS = 8 << 20, 10
with disk.nameless_file(Path(sys.argv[1])) as (file, _):
    print("open", flush=True)
    while True:
        disk.measured(Path(sys.argv[1]))
"""


def test_a_measurement_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "TOTAL", 8 << 20)
    speed = measured(tmp_path)
    assert min(speed.write_mb_s, speed.read_mb_s, speed.sync_ms) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_killed_measurement_leaves_no_file(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        process.kill()
        assert process.wait(timeout=20) == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_a_slow_disk_is_given_up_after_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps by a second at each look: two blocks are written, and so many are read."""
    seconds = iter(range(1000))
    monkeypatch.setattr(disk.time, "monotonic", lambda: float(next(seconds)))
    sizes: list[int] = []
    monkeypatch.setattr(disk.os, "pwrite", lambda file, block, offset: sizes.append(len(block)) or len(block))
    monkeypatch.setattr(disk.os, "preadv", lambda file, blocks, offset: len(blocks[0]))
    measured(tmp_path)
    assert sum(sizes) <= 3 * disk.BLOCK


def test_a_file_system_without_nameless_files_takes_a_file_that_is_unlinked_at_once(tmp_path: Path) -> None:
    file = opened_and_unlinked(tmp_path, 0)
    try:
        assert (list(tmp_path.iterdir()), os.pwrite(file, b"x", 0)) == ([], 1)
    finally:
        os.close(file)


def test_memory_as_a_disk_is_measured_with_or_without_its_cache() -> None:
    with nameless_file(Path("/dev/shm")) as (file, _):
        assert os.pwrite(file, bytes(4096), 0) == 4096


def test_a_folder_that_cannot_be_written_is_not_measured(tmp_path: Path) -> None:
    found = disk_under(Path("/proc"), Path("/"))
    assert found.speed is None
    assert found.trouble
    with pytest.raises(FileNotFoundError):
        disk_under(tmp_path / "absent", Path("/"))


def test_a_full_disk_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "ROOM", 1 << 60)
    found = disk_under(tmp_path, Path("/"))
    assert (found.speed, found.trouble) == (None, "less than 1 GB is free")


def block_tree(root: Path, name: str, rotational: str, *, partition: str = "", mapped_by: str = "") -> Path:
    """A /sys with one disk; the device number is the disk's, its partition's or that of a mapping over it."""
    written(root)
    device = root / "sys/devices/block" / name
    (device / "queue").mkdir(parents=True)
    (device / "queue/rotational").write_text(f"{rotational}\n")
    target = device
    if partition:
        target = device / partition
        target.mkdir()
        (target / "partition").write_text("1\n")
    if mapped_by:
        mapping = root / "sys/devices/virtual/block" / mapped_by
        (mapping / "slaves").mkdir(parents=True)
        (mapping / "slaves" / target.name).symlink_to(target)
        target = mapping
    (root / "sys/dev/block").mkdir(parents=True)
    (root / "sys/dev/block/259:1").symlink_to(target)
    return root


@pytest.mark.parametrize(
    ("name", "rotational", "partition", "mapped_by", "kind"),
    [
        ("nvme0n1", "0", "", "", "NVMe"),
        ("nvme0n1", "0", "nvme0n1p2", "", "NVMe"),
        ("nvme1n1", "0", "nvme1n1p1", "dm-0", "NVMe"),
        ("sda", "0", "sda1", "", "SSD"),
        ("sda", "1", "sda1", "md0", "hard disk"),
        ("vda", "1", "", "", "virtual disk"),
    ],
)
def test_a_disk_is_known_by_its_device(
    tmp_path: Path, name: str, rotational: str, partition: str, mapped_by: str, kind: DiskKind
) -> None:
    root = block_tree(tmp_path, name, rotational, partition=partition, mapped_by=mapped_by)
    assert kind_of(DEVICE, root) == kind


@pytest.mark.parametrize(
    ("file_system", "kind"), [("tmpfs", "memory"), ("nfs4", "network"), ("overlay", None), ("btrfs", None)]
)
def test_what_is_no_disk_is_known_by_its_file_system(tmp_path: Path, file_system: str, kind: DiskKind | None) -> None:
    mounts = lines(
        "27 1 254:1 / / rw - ext4 /dev/vda1 rw", f"30 27 259:1 / /data rw shared:1 - {file_system} source rw"
    )
    assert kind_of(DEVICE, written(tmp_path, {"proc/self/mountinfo": mounts})) == kind
