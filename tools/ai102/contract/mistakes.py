"""Reads a TOML file into a checked object, or raises one error line for each mistake in it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ai102.errors import UserError

T = TypeVar("T", bound=BaseModel)


def table_from_file(path: Path, root: type[T]) -> T:
    """The file as a `root`. Raises UserError with one line per mistake: table and key, what is wrong, what to
    write.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise UserError(f"{path}: no such file; run this in the folder that holds {path.name}") from err
    except UnicodeDecodeError as err:
        raise UserError(f"{path}: not valid TOML: {err}") from err
    return table_from_text(text, path, root)


def table_from_text(text: str, path: Path, root: type[T]) -> T:
    """The same for a text; `path` names it in errors."""
    try:
        return root.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as err:
        raise UserError(f"{path}: not valid TOML: {err}") from err
    except ValidationError as err:
        raise UserError("\n".join(f"{path.name}: {line}" for line in lines_from_validation(err, root))) from err


def lines_from_validation(err: ValidationError, root: type[BaseModel]) -> Iterator[str]:
    """One line per mistake: the key, what is wrong, what to write. `root` is the model of the whole file."""
    problems = err.errors()
    for problem in problems:
        if any(other["loc"][: len(problem["loc"])] == problem["loc"] for other in problems if other is not problem):
            continue  # a list is "too short" because its entry was refused: the entry has its own line
        where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in problem["loc"]).lstrip(".")
        where = where.removesuffix(".[key]")
        key, field, siblings = _field_at(problem["loc"], root)
        advice = f"; write for example {key} = {field.examples[0]}" if field and field.examples else ""
        match problem["type"]:
            case "value_error":
                yield f"{where}.{problem['ctx']['error']}".lstrip(".")
            case "extra_forbidden":
                near = difflib.get_close_matches(str(problem["loc"][-1]), siblings, 1)
                known = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(sorted(siblings))}"
                yield f"{where} is not a key; {known}"
            case "missing":
                yield f"{where} is missing{advice}"
            case _:
                yield f"{where} is {problem['input']!r}: {_plain(problem['msg'])}{advice}"


def _plain(message: str) -> str:
    """Pydantic's message without Python's type names."""
    message = re.sub(r"^(Input|String|Tuple|Dictionary) should", "it should", message)
    message = message.removesuffix(" after validation, not 0").replace("valid dictionary or instance of", "table like")
    return message.replace("valid dictionary", "table")


def _field_at(loc: tuple[int | str, ...], root: type[BaseModel]) -> tuple[str, Any, list[str]]:
    """The pydantic field at an error's location (None if there is none), its name, and the keys of its table."""
    model: type[BaseModel] | None = root
    name, field, siblings, is_entry = "", None, list[str](), False
    for key in loc:
        if is_entry:  # the name of a table or the index in a list, not a key of the model
            is_entry = False
            continue
        siblings = list(model.model_fields) if model else []
        name, field = str(key), model.model_fields.get(str(key)) if model else None
        inside = _models_in(field.annotation) if field else []
        model = inside[0] if inside else None
        is_entry = field is not None and get_origin(field.annotation) in (dict, tuple)
    return name, field, siblings


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
