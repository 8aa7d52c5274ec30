"""Two builds at once wait for each other, and what one leaves belongs together."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ai102 import artifact
from ai102.build import verbs
from ai102.build.lock import building, opened
from ai102.build.workspace import Workspace
from ai102.errors import UserError
from tests.tiny_nets import write_scale

DEADLINE_S = 120
CONTRACT = """
[networks.scale]
source = "onnx:{source}.onnx"
task = "tensors"
inputs = [{{ name = "x", type = "FP32", dims = [2] }}]
outputs = [{{ name = "y", type = "FP32", dims = [2] }}]
latency_goal = {{ p99_ms = 10.0 }}
batching = {{ max_batch_size = 4 }}
versions = {{ keep = 2 }}
"""


class Listener:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, _title: str) -> Any:
        return nullcontext(lambda done, total: None)

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "calibration" / "sets").mkdir(parents=True)
    for name, factor in (("a", 2.0), ("b", 3.0)):
        write_scale(tmp_path / f"{name}.onnx", factor)
        (tmp_path / f"{name}.toml").write_text(CONTRACT.format(source=name))
    (tmp_path / "models.toml").write_text(CONTRACT.format(source="a"))
    return tmp_path


def test_the_second_build_waits_and_says_so_in_one_line(root: Path) -> None:
    said: list[str] = []
    is_waiting, is_done = threading.Event(), threading.Event()

    def say(line: str) -> None:
        said.append(line)
        is_waiting.set()

    def second() -> None:
        with building(root, say):
            is_done.set()

    other = threading.Thread(target=second)
    with building(root, said.append):
        other.start()
        assert is_waiting.wait(DEADLINE_S)
        assert not is_done.is_set()
    assert is_done.wait(DEADLINE_S)
    other.join(DEADLINE_S)
    assert said == [f"waiting for another build in {root}"]


def test_a_build_inside_a_build_does_not_wait(root: Path) -> None:
    said: list[str] = []
    with building(root, said.append), building(root, said.append):
        pass
    assert said == []


def test_a_folder_removed_while_one_waits_is_locked_anew(root: Path) -> None:
    is_waiting, holds = threading.Event(), threading.Event()
    release = threading.Event()

    def second() -> None:
        with building(root, lambda line: is_waiting.set()):
            holds.set()
            assert release.wait(DEADLINE_S)

    other = threading.Thread(target=second)
    with building(root, lambda line: None):
        other.start()
        assert is_waiting.wait(DEADLINE_S)
        (root / "build").rmdir()
    assert holds.wait(DEADLINE_S)
    said: list[str] = []
    with building(root, lambda line: (said.append(line), release.set())[0]):
        other.join(DEADLINE_S)
    assert said == [f"waiting for another build in {root}"]


def test_a_contract_with_a_mistake_leaves_no_folder(root: Path) -> None:
    (root / "models.toml").write_text("networks = 1\n")
    with pytest.raises(UserError), opened(root / "models.toml", print):
        pass
    assert not (root / "build").exists()


def test_a_network_that_is_not_there_is_said_without_waiting(root: Path) -> None:
    listener = Listener()
    with (
        building(root, listener.say),
        pytest.raises(UserError, match="no network scal in"),
        opened(root / "models.toml", listener.say, ["scal"]),
    ):
        pass
    assert listener.lines == []


def test_what_a_killed_build_left_is_removed_by_the_next_and_what_is_in_use_is_not(root: Path) -> None:
    abandoned = root / "model_repository" / "scale_fp32" / f"{artifact.TEMPORARY}dead"
    abandoned.mkdir(parents=True)
    with artifact.temporary_folder(root / "model_repository" / "scale_fp32") as used, building(root, print):
        assert (abandoned.exists(), used.exists()) == (False, True)


def test_two_builds_at_once_leave_models_whose_manifests_are_their_own(root: Path) -> None:
    """Of one workspace, from other weights: each version is wholly of one build."""
    workspaces = [
        Workspace(root, Workspace.of(root / f"{name}.toml").contract) for name in ("a", "b") for _ in range(2)
    ]
    start, failures = threading.Barrier(len(workspaces)), []

    def build(workspace: Workspace) -> None:
        start.wait(DEADLINE_S)
        try:
            for _ in range(3):
                verbs.engine(workspace, "scale", Listener())
        except BaseException as err:
            failures.append(err)
            raise

    threads = [threading.Thread(target=build, args=(workspace,)) for workspace in workspaces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert failures == []
    files = sorted((root / "model_repository" / "scale_fp32").glob("*/model.onnx"))
    assert 1 <= len(files) <= 2
    known = {artifact.sha256_of_file(root / f"{name}.onnx") for name in ("a", "b")}
    for file in files:
        assert artifact.inputs_of(file)["onnx"] == artifact.sha256_of_file(file)
    assert known  # the sources differ, so that a mixture would show
    assert list(root.rglob(f"{artifact.TEMPORARY}*")) == []
