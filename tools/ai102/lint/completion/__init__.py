"""What `auto_complete_config` of a Python model makes of its config, read from the code without running it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.completion.config_json import DroppedError, config_from_dict, dict_from_config
from ai102.lint.completion.model_config import ModelConfig, check_json
from ai102.lint.completion.statements import completed_by
from ai102.lint.completion.values import RefusedError, UndecidedError

MODEL_CLASS = "TritonPythonModel"


@dataclass(frozen=True)
class CodeProblem:
    """What the server refuses in the code (MR311), or drops (MR312)."""

    code: str
    line: int
    message: str
    advice: str


@dataclass(frozen=True)
class Completion:
    """`config` is None where only a run would show it; `lines` are those of the calls, by the field that they set."""

    config: pb.ModelConfig | None
    lines: Mapping[str, int] = field(default_factory=dict)
    problem: CodeProblem | None = None


def completion(code: Path, written: pb.ModelConfig, name: str) -> Completion:
    """Of a model's config (an empty one where there is none) by the code; the file must exist."""
    try:
        tree = parsed(code)
    except CodeError:
        return Completion(None)
    config = ModelConfig(dict_from_config(written, name))
    try:
        if not completed_by(tree, MODEL_CLASS, config):
            return Completion(written)
        check_json(config.config)
        return Completion(config_from_dict(written, config.config, name), config.lines)
    except RefusedError as err:
        return Completion(None, {}, CodeProblem("MR311", config.line, err.message, err.advice))
    except DroppedError as err:
        advice = "correct it: the server drops all that the code adds, and says nothing"
        return Completion(written, {}, CodeProblem("MR312", config.line, str(err), advice))
    except (UndecidedError, RecursionError):
        return Completion(None)


class CodeError(Exception):
    """The file is no Python."""


def parsed(code: Path) -> ast.Module:
    """Raises CodeError with the line and what is wrong there."""
    return _parsed(code, code.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _parsed(code: Path, mtime_ns: int) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code.read_bytes())
    except SyntaxError as err:
        raise CodeError(f"line {err.lineno}, {err.msg}" if err.lineno else str(err)) from err
    except (ValueError, RecursionError, MemoryError) as err:
        raise CodeError(str(err) or "it is nested too deep") from err
