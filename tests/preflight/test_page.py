"""docs/preflight.md has the numbers of the profiles, and names every check."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ai102.preflight.profiles import PROFILES, Wanted
from ai102.preflight.run import CHECKS

PAGE = (Path(__file__).parents[2] / "docs/preflight.md").read_text(encoding="utf-8")
# By the beginning of a row: the check, and what its cells say of a profile.
CELLS: dict[str, tuple[str, Callable[[Wanted], str]]] = {
    "cores": ("cores", lambda wanted: f"{wanted.cores}"),
    "memory": ("memory", lambda wanted: f"{wanted.memory_gb} GB"),
    "AVX2": ("AVX2", lambda wanted: "yes"),
    "VNNI": ("VNNI", lambda wanted: "yes"),
    "kernel": ("kernel", lambda wanted: ".".join(map(str, wanted.kernel))),
    "shared memory (": ("shared memory", lambda wanted: f"{wanted.shared_memory_mb:,} MB"),
    "open files": ("open files", lambda wanted: f"{wanted.open_files:,}"),
    "disk space": ("disk space", lambda wanted: f"{wanted.disk_gb} GB"),
    "disk speed": ("disk speed", lambda wanted: f"{wanted.write_mb_s}, {wanted.read_mb_s} MB/s"),
    "disk sync": ("disk sync", lambda wanted: f"{wanted.sync_ms} ms"),
    "container engine": ("container engine", lambda wanted: "yes"),
    "GPU memory": ("GPU memory", lambda wanted: f"{wanted.gpu_memory_gb} GB each" if wanted.gpu_memory_gb else "-"),
    "GPU in containers": ("GPU in containers", lambda wanted: "yes" if wanted.gpu_memory_gb else "-"),
}


@pytest.mark.parametrize(("start", "check", "cell"), [(start, *row) for start, row in CELLS.items()], ids=CELLS)
def test_a_row_has_the_numbers_and_is_bold_where_they_are_required(
    start: str, check: str, cell: Callable[[Wanted], str]
) -> None:
    row = re.search(rf"^\| {re.escape(start)}.*$", PAGE, re.M)
    assert row is not None
    wanted = [f"**{cell(one)}**" if check in one.required else cell(one) for one in PROFILES.values()]
    assert [part.strip() for part in row[0].split("|")[2:-1]] == wanted


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_is_on_the_page(check: str) -> None:
    assert check in PAGE
