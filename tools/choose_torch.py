"""Which build of PyTorch the set-up installs, and from where. Standard library only: nothing is installed yet.

PyPI's build for Linux brings some twenty CUDA packages, several gigabytes, which a machine without a GPU cannot use.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PYTORCH_ANSWERS_WITHIN_S = 2.0
LISTED_WITHIN_S = 30.0  # by a folder or an index that the user named


@dataclass(frozen=True)
class Source:
    """A place where pip may see a CPU build."""

    name: str
    pip_options: tuple[str, ...] = ()
    folder: Path | None = None  # must be there
    page: str = ""  # must answer within PYTORCH_ANSWERS_WITHIN_S before pip is asked
    is_named: bool = True  # by the user, who then wants to know when it is not used


@dataclass(frozen=True)
class Choice:
    """What pip is asked for. A CPU build is installed without its dependencies: they come from pip's usual index."""

    requirement: str
    source: Source
    why: str
    is_cpu_build: bool
    notes: tuple[str, ...] = ()  # sources that are not used, with the reason


def choose(
    version: str,
    pip: Sequence[str],
    environment: Mapping[str, str],
    wheels: Path | None,
    pytorch_index: str = PYTORCH_CPU_INDEX,
) -> Choice:
    """The first source that has `version` as a CPU build for the Python of `pip`; PyPI's build where none has."""
    if has_nvidia_gpu(environment):
        # Three equal signs: a folder in pip's configuration that holds a +cpu build must not win.
        return Choice(f"torch==={version}", Source("pip's index"), "nvidia-smi shows a GPU", is_cpu_build=False)
    cpu_version = f"{version}+cpu"
    problems: list[tuple[Source, str]] = []
    for source in _sources(environment, wheels, pytorch_index):
        problem = _problem(pip, source, cpu_version, environment)
        if problem is None:
            notes = tuple(f"{source.name} {problem}" for source, problem in problems if source.is_named)
            return Choice(f"torch=={cpu_version}", source, "no GPU here", is_cpu_build=True, notes=notes)
        problems.append((source, problem))
    notes = tuple(f"{source.name} {problem}" for source, problem in problems)
    return Choice(f"torch=={version}", Source("pip's index"), "no CPU build at hand", is_cpu_build=False, notes=notes)


def has_nvidia_gpu(environment: Mapping[str, str]) -> bool:
    command = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if command is None:
        return False
    try:
        return subprocess.run([command], capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def answers_within(url: str, seconds: float) -> bool:
    """Whether a GET of the URL succeeds in time; the limit holds for name resolution and a silent server too."""
    answered = threading.Event()

    def ask() -> None:
        try:
            with urlopen(url, timeout=seconds):
                answered.set()
        except (OSError, HTTPException):
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def pinned_version(pyproject: str) -> str:
    """The version of torch in the text of pyproject.toml."""
    pin = re.search(r'"torch==([^"]+)"', pyproject)
    if pin is None:
        raise ValueError('pyproject.toml has no "torch==VERSION": the set-up needs one exact version')
    return pin[1]


def size_on_disk(site_packages: Path) -> int:
    """Bytes of torch and of the CUDA packages that its PyPI build brings."""
    return sum(
        file.lstat().st_size
        for name in ("torch", "torchgen", "functorch", "nvidia", "triton")
        for file in (site_packages / name).rglob("*")
        if file.is_file()
    )


def _sources(environment: Mapping[str, str], wheels: Path | None, pytorch_index: str) -> Iterator[Source]:
    if wheels is not None:
        yield Source(f"WHEELS={wheels}", ("--no-index", "--find-links", str(wheels)), wheels)
    if environment.get("TORCH_INDEX"):
        yield Source("the index in TORCH_INDEX", ("--index-url", environment["TORCH_INDEX"]))
    is_named = any(environment.get(name) for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_FIND_LINKS"))
    yield Source("pip's own configuration", is_named=is_named)
    page = f"{pytorch_index}/torch/"
    yield Source("PyTorch's CPU index", ("--index-url", pytorch_index), page=page, is_named=False)


def _problem(pip: Sequence[str], source: Source, version: str, environment: Mapping[str, str]) -> str | None:
    """Why pip cannot install this version from there; None: it can. pip knows its own configuration and this Python."""
    if source.folder is not None and not source.folder.is_dir():
        return "is not a folder"
    if source.page and not answers_within(source.page, PYTORCH_ANSWERS_WITHIN_S):
        return f"does not answer within {PYTORCH_ANSWERS_WITHIN_S:g} s"
    command = [*pip, "index", "versions", "torch", "--retries", "0", *source.pip_options]
    try:
        listing = subprocess.run(
            command, capture_output=True, text=True, env=dict(environment), timeout=LISTED_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"does not answer within {LISTED_WITHIN_S:g} s"
    versions = re.search(r"^Available versions: (.*)$", listing.stdout, re.MULTILINE)
    if versions is None or version not in versions[1].split(", "):
        return f"has no torch {version} for this Python"
    return None
