"""What the tests of the cluster share: a cluster of their own, beside one that may be up, and what they ask of it."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.parts import Cache, program
from k8s.local import addons, down, up
from k8s.local.addons import Addon
from k8s.local.plan import ROOT, Plan
from k8s.local.programs import Programs, lacking
from k8s.local.waiting import until

# Ten minutes and more.
LONG = (
    "test_ab.py",
    "test_blue_green.py",
    "test_canary.py",
    "test_mesh.py",
    "test_scaling.py",
    "test_shadow.py",
)
FIGURES = ROOT / "build" / "cluster-figures.txt"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-scenarios",
        action="store_true",
        help="every fault under load, with 20,000 calls each, the mesh and scaling: an hour",
    )
    parser.addoption("--calls", type=int, help="of each fault: another number than 20,000, or 3,000 without the others")
    parser.addoption("--mesh", action="store_true", help="the faults in a mesh of Istio")
    parser.addoption("--bare", action="store_true", help="the same with tritonclient in place of ai102.client")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every test of this folder bears the marker; the long ones run where they are asked for."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("cluster")
            if item.path.name in LONG and not config.getoption("--all-scenarios"):
                item.add_marker(pytest.mark.skip(reason="takes ten minutes and more: give --all-scenarios"))


@pytest.fixture(scope="session")
def cache() -> Cache:
    return Cache.of(os.environ)


@pytest.fixture(scope="session")
def programs(cache: Cache) -> Programs:
    """The programs; whoever lacks something skips with the reason."""
    if lacks := lacking():
        pytest.skip("; ".join(lacks))
    try:
        return Programs.of(cache)
    except UserError as err:
        pytest.skip(str(err))


def addons_or_skip(names: list[str], cache: Cache) -> list[Addon]:
    """The add-ons of these names; the test skips where the cache lacks a program of one."""
    wanted = addons.named(names)
    try:
        for addon in wanted:
            for part, name in addon.programs.values():
                program(part, name, cache=cache)
    except UserError as err:
        pytest.skip(str(err))
    return wanted


@pytest.fixture(scope="module")
def cluster(programs: Programs, cache: Cache) -> Iterator[Plan]:
    """A cluster that is up; nothing of it is left at the end."""
    plan = Plan.named("ai102-test")
    down.down(plan)
    try:
        up.up(plan, cache, note)
        yield plan
    finally:
        down.down(plan)
    assert down.leftovers(plan) == []


def note(line: str) -> None:
    """A figure for people: in the output of the test, and kept in build/cluster-figures.txt."""
    sys.stdout.write(f"{line}\n")
    FIGURES.parent.mkdir(exist_ok=True)
    with FIGURES.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def seconds_until(holds: Callable[[], bool], what: str, within_s: float) -> float:
    """How long it took until it held."""

    began = time.monotonic()
    until(holds, what, within_s)
    return time.monotonic() - began
