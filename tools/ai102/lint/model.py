"""A model repository as the linter sees it: folders, configs with the place of every field, version folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.completion import CodeProblem
from ai102.lint.cursor import Problem
from ai102.lint.finding import Finding, Fix, Severity, in_one_line
from ai102.lint.pbtxt import parse
from ai102.lint.tree import Message, Position

CONFIG = "config.pbtxt"
LEADING_NUMBER = re.compile(r"\s*[+-]?[0-9]+")
START = Position(1, 1, 0, 0)


@dataclass(frozen=True)
class Model:
    """One model folder. `config` is None when there is no config.pbtxt or it does not parse.

    `path` is that of its config.pbtxt relative to the repository; `tree` is as much of it as was understood.
    Where Python code at `code_path` completes the config, `config` is the completed one, and `lines_in_code` has the
    line that set a field, by the field's path. Without `is_decided` only a run of the code would show its effect.
    `is_first_look` is the config as it is written, which the server checks in part before it runs the code.
    """

    folder: Path
    name: str
    path: str
    text: str
    config: pb.ModelConfig | None
    tree: Message
    severities: Mapping[str, Severity]
    problems: tuple[Problem, ...] = ()
    has_config: bool = True
    code_path: str = ""
    lines_in_code: Mapping[str, int] = field(default_factory=dict)
    code_problem: CodeProblem | None = None
    is_decided: bool = True
    is_first_look: bool = False

    def finding(self, code: str, where: str | Position, message: str, advice: str, fix: Fix | None = None) -> Finding:
        """A finding at a field such as `input[1].dims`; where that is not written, at the nearest one around it."""
        message, advice = in_one_line(message), in_one_line(advice)
        line = self._line_in_code(where) if isinstance(where, str) else None
        if line is not None:
            return Finding(self.code_path, line, 1, code, self.severities[code], message, advice)
        at = where if isinstance(where, Position) else self.position(where)
        return Finding(self.path, at.line, at.column, code, self.severities[code], message, advice, fix)

    def finding_in_code(self, code: str, line: int, message: str, advice: str) -> Finding:
        """A finding at a line of the Python file that completes the config."""
        message, advice = in_one_line(message), in_one_line(advice)
        return Finding(self.code_path, line, 1, code, self.severities[code], message, advice)

    def _line_in_code(self, where: str) -> int | None:
        """Where the code sets the field at that path, or the nearest one around it."""
        around = [path for path in self.lines_in_code if where == path or where.startswith((f"{path}.", f"{path}["))]
        return self.lines_in_code[max(around, key=len)] if around else None

    def list_fix(self, where: str, length: int, text: str) -> Fix | None:
        """Writes `text` over a list of that length; None where it is written in several places, or not at all."""
        places = {field.whole for place in range(length) if (field := self.tree.find(f"{where}[{place}]")) is not None}
        return Fix(whole.start, whole.end, text) if len(places) == 1 and (whole := places.pop()) else None

    def position(self, where: str) -> Position:
        """Of the field at that path, or of the nearest written one around it, or the start of the file."""
        return self.tree.nearest(where) or START

    @cached_property
    def folders(self) -> tuple[Path, ...]:
        """The folders inside this one, by name."""
        if not self.folder.is_dir():
            return ()
        return tuple(sorted(path for path in self.folder.iterdir() if path.is_dir()))

    @property
    def first_folder(self) -> Path | None:
        """Where the server looks for a model file when the config names no backend."""
        return self.folders[0] if self.folders else None

    @cached_property
    def versions(self) -> tuple[int, ...]:
        """The versions that Triton sees, ascending; of some it misread the folder's name."""
        numbers = (version_from_name(path.name) for path in self.folders)
        return tuple(sorted({number for number in numbers if number is not None}))

    @cached_property
    def loaded_versions(self) -> tuple[int, ...]:
        """Those that its version policy has the server load; the newest alone where none is written."""
        policy = self.config.version_policy if self.config is not None else pb.ModelVersionPolicy()
        choice = policy.WhichOneof("policy_choice")
        if choice == "specific":
            return tuple(version for version in self.versions if version in policy.specific.versions)
        if choice == "all" or (choice is None and self.tree.find("version_policy") is not None):
            return self.versions
        most = policy.latest.num_versions if choice == "latest" else 1
        return self.versions[max(len(self.versions) - most, 0) :]

    def inside(self, *parts: str) -> Path:
        """A path in the folder as the server joins it: a slash in front of a part does not lead out."""
        return self.folder.joinpath(*(part.lstrip("/") for part in parts))

    def file(self, version: int, name: str) -> Path:
        return self.folder / str(version) / name


@dataclass(frozen=True)
class Repository:
    """`models` by folder name, in order; `triton` is the server's version, as "2.51".

    Without `check_files` a rule must not miss or read files that are built later, such as model.onnx.
    """

    root: Path
    models: Mapping[str, Model]
    triton: str
    check_files: bool = True

    @property
    def triton_version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.triton.split("."))


def version_from_name(name: str) -> int | None:
    """As the server reads a folder's name: by the number that it begins with, and none with a zero in front."""
    number = LEADING_NUMBER.match(name)
    return int(number[0]) if number is not None and (name == "0" or name[0] != "0") else None


def model_from_folder(folder: Path, root: Path, severities: Mapping[str, Severity]) -> Model:
    """Read one model folder; `problems` says what keeps a config.pbtxt from being read."""
    file = folder / CONFIG
    text = file.read_bytes().decode("utf-8", "surrogateescape") if file.is_file() else ""
    parsed = parse(text)
    return Model(
        folder=folder,
        name=folder.name,
        path=file.relative_to(root).as_posix(),
        text=text,
        config=parsed.config if file.is_file() else None,
        tree=parsed.tree,
        severities=severities,
        problems=parsed.problems,
        has_config=file.is_file(),
    )


def repository_from_folder(
    root: Path, triton: str, severities: Mapping[str, Severity], *, check_files: bool = True
) -> Repository:
    """Every folder of `root` is a model to Triton, except hidden ones. `severities` are those of all codes."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    models = {folder.name: model_from_folder(folder, root, severities) for folder in folders}
    return Repository(root, models, triton, check_files)
