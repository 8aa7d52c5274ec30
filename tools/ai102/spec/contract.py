"""models.toml, read once: the whole contract, or one line for each mistake in it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator

from ai102.errors import UserError
from ai102.spec.ensemble import Ensemble
from ai102.spec.served import ServedModel, model_of_ensemble, models_of_network
from ai102.spec.table import Name, Table
from ai102.spec.tables import Network


class Server(Table):
    """The tritonserver that the configs are for."""

    triton: str = Field("2.51", pattern=r"^[0-9]+\.[0-9]+$", examples=['"2.51"'])


class Contract(Table):
    """All of models.toml."""

    server: Server = Field(Server(), examples=['{ triton = "2.51" }'])
    networks: dict[Name, Network] = Field(min_length=1, examples=["one table [networks.NAME] per network"])
    ensembles: dict[Name, Ensemble] = Field({}, examples=["one table [ensembles.NAME] per ensemble"])

    @model_validator(mode="after")
    def _names_and_flow(self) -> Self:
        models = self.served_models  # raises where an ensemble does not flow
        names = [model.name for model in models]
        if double := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f'two models would be called "{double}": rename a network or an ensemble')
        return self

    @property
    def served_models(self) -> list[ServedModel]:
        """Every folder of model_repository: the networks' models first, then the ensembles."""
        models = [model for name, net in self.networks.items() for model in models_of_network(name, net)]
        by_name = {model.name: model for model in models}
        for name, ensemble in self.ensembles.items():
            try:
                models.append(model_of_ensemble(name, ensemble, by_name))
            except ValueError as err:
                raise ValueError(f"ensembles.{name}.{err}") from err
        return models


def load(path: Path) -> Contract:
    """The contract in `path`.

    Raises UserError with one line per mistake: file, table and key, what is wrong, what to write.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise UserError(f"{path}: no such file; run this in the folder that holds models.toml") from err
    except UnicodeDecodeError as err:
        raise UserError(f"{path}: not valid TOML: {err}") from err
    return contract_from_text(text, path)


def contract_from_text(text: str, path: Path) -> Contract:
    """The contract that `text` is; `path` names it in errors, which are those of `load`."""
    try:
        return Contract.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as err:
        raise UserError(f"{path}: not valid TOML: {err}") from err
    except ValidationError as err:
        raise UserError("\n".join(f"{path.name}: {line}" for line in _lines_from_validation(err))) from err


def _lines_from_validation(err: ValidationError) -> Iterator[str]:
    problems = err.errors()
    for problem in problems:
        if any(other["loc"][: len(problem["loc"])] == problem["loc"] for other in problems if other is not problem):
            continue  # a list is "too short" only because its entry was refused: that entry has its own line
        where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in problem["loc"]).lstrip(".")
        where = where.removesuffix(".[key]")
        field, siblings = _field_at(problem["loc"])
        advice = f"; write for example {problem['loc'][-1]} = {field.examples[0]}" if field and field.examples else ""
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
    """Pydantic's sentence without its vocabulary."""
    message = re.sub(r"^(Input|String|Tuple|Dictionary) should", "it should", message)
    return message.removesuffix(" after validation, not 0").replace("valid dictionary or instance of", "table like")


def _field_at(loc: tuple[int | str, ...]) -> tuple[Any, list[str]]:
    """The pydantic field an error's location names (None if there is none), and the keys that its table has."""
    model: type[BaseModel] | None = Contract
    field, siblings, is_entry = None, list[str](), False
    for key in loc:
        if is_entry:  # the name of a table or the index in a list, not a key of the model
            is_entry = False
            continue
        siblings = list(model.model_fields) if model else []
        field = model.model_fields.get(str(key)) if model else None
        inside = _models_in(field.annotation) if field else []
        model = inside[0] if inside else None
        is_entry = field is not None and get_origin(field.annotation) in (dict, tuple)
    return field, siblings


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
