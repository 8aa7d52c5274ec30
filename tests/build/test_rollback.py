"""A build that was rolled back stays out, of FP32 and INT8 alike, until that is undone."""

from pathlib import Path

from ai102.build.workspace import Workspace
from ai102.lint import lint

from .test_killed import build, folder, weights

__all__ = ["folder"]


def test_the_same_build_again_does_not_bring_back_what_was_rolled_back(folder: Path) -> None:
    for seed in (0, 1):
        weights(folder / "net.onnx", seed)
        build(folder)
    builds = Workspace.of(folder / "models.toml").builds("net")

    def versions() -> list[list[int]]:
        return [list(builds.installed(model)) for model in builds.models]

    assert versions() == [[1, 2], [1, 2]]
    builds.roll_back()
    build(folder)
    assert versions() == [[1], [1]]
    assert not lint(folder / "model_repository")
    builds.undo()
    build(folder)
    assert versions() == [[1, 2], [1, 2]]
    assert not lint(folder / "model_repository")
