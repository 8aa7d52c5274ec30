"""calibration/engines/NET.toml: the engine that was measured to be the fastest, by kind of CPU and by model.

It is committed, so that a build need not measure again, and knows what serves a kind of CPU that it does not run on.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import tomlkit
from pydantic import BaseModel, ConfigDict, RootModel, StringConstraints, ValidationError

from ai102 import artifact
from ai102.contract import Precision
from ai102.errors import UserError
from ai102.int8.engines import Candidate
from ai102_runtime.engine.cpu import Cpu
from ai102_runtime.engine.record import EngineName

CandidateName = Annotated[str, StringConstraints(pattern=r"^(onnxruntime|openvino|openvino-bf16) (fp32|int8)$")]
ABOUT = "Measured by `ai102 engine build {name} --measure`: the engine of each model, by kind of CPU."


class KeptChoice(BaseModel):
    """What was measured on one CPU, and what is served on its kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: EngineName
    precision: Precision
    ratios: dict[CandidateName, float]  # how many times as fast each is as the first
    cpu_name: str
    threads: int
    onnx_sha256: str  # of the FP32 file: the choice for another one is not used
    versions: dict[str, str]

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.engine, self.precision)

    @property
    def by_candidate(self) -> dict[Candidate, float]:
        """The ratios."""
        by_words: dict[Any, float] = {tuple(name.split()): ratio for name, ratio in self.ratios.items()}
        return {Candidate(*words): ratio for words, ratio in by_words.items()}


class _File(RootModel[dict[Cpu, dict[Precision, KeptChoice]]]):
    pass


def load(file: Path) -> dict[Cpu, dict[Precision, KeptChoice]]:
    """Empty where there is no such file. Raises UserError when it is not one that was measured."""
    if not file.is_file():
        return {}
    try:
        return _File.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).root
    except (tomllib.TOMLDecodeError, ValidationError) as err:
        advice = f"measure again: `ai102 engine build {file.stem} --measure`"
        raise UserError(f"{file}: not choices of engines ({str(err).splitlines()[0]}); {advice}") from err


def kept_for(file: Path, cpu: Cpu, precision: Precision, *, onnx_sha256: str, threads: int) -> KeptChoice | None:
    """The choice for a model of that precision, if one was kept for this very FP32 file and number of threads."""
    choice = load(file).get(cpu, {}).get(precision)
    is_same = choice is not None and (choice.onnx_sha256, choice.threads) == (onnx_sha256, threads)
    return choice if is_same else None


def keep(file: Path, cpu: Cpu, by_precision: Mapping[Precision, KeptChoice]) -> None:
    """Write the choices for that kind of CPU; those for other kinds stay."""
    choices = {**load(file), cpu: dict(by_precision)}
    document = tomlkit.document()
    document.add(tomlkit.comment(ABOUT.format(name=file.stem)))
    for kind, kept in sorted(choices.items()):
        tables = tomlkit.table(is_super_table=True)
        for precision, choice in sorted(kept.items()):
            table = tomlkit.table()
            for key, value in choice.model_dump().items():
                table.add(key, _inline(value) if isinstance(value, dict) else value)
            tables.add(precision, table)
        document.add(kind, tables)
    artifact.write_text(file, tomlkit.dumps(document))


def _inline(values: Mapping[str, object]) -> tomlkit.items.InlineTable:
    table = tomlkit.inline_table()
    table.update(values)
    return table
