"""The benchmark's results, and their JSON form in build/bench/results.json."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from ai102 import artifact

FORMAT = 1


class Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Round(Fact):
    """One round of one server at one concurrency; latencies are None without an answer."""

    per_s: float
    p50_ms: float | None
    p99_ms: float | None
    count: int
    errors: int = 0
    client_cpu: float = 0.0  # share of the client's core


class Cell(Fact):
    """All rounds of one server at one concurrency: medians."""

    server: str
    concurrency: int
    per_s: float
    per_s_low: float
    per_s_high: float
    p50_ms: float | None
    p99_ms: float | None
    errors: int
    client_cpu: float
    client_is_full: bool  # the client, not the server, may be the bottleneck
    rounds: tuple[Round, ...]


class ServerRow(Fact):
    """Properties of one server that do not depend on the load, or why it was not measured."""

    server: str
    variant: str = ""
    tried: dict[str, float] = {}  # requests/s of each variant in the trial that chose this one
    start_s: float | None = None  # from the process start to the first answer
    rss_mb: float | None = None
    pss_mb: float | None = None
    request_bytes: float | None = None  # on the network with headers, per request
    answer_bytes: float | None = None
    not_measured: str = ""


class WorkResult(Fact):
    work: str
    about: str
    servers: tuple[ServerRow, ...]
    cells: tuple[Cell, ...]

    @model_validator(mode="after")
    def _measured_or_not(self) -> WorkResult:
        absent = {row.server for row in self.servers if row.not_measured}
        for cell in self.cells:
            if cell.server in absent:
                raise ValueError(f"{cell.server} is not measured and has figures at concurrency {cell.concurrency}")
        return self


class Ratio(Fact):
    """The ratio of two servers: median and quartiles over the rounds."""

    name: str
    work: str
    at_least: float | None = None
    at_most: float | None = None
    median: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int = 0
    is_met: bool | None = None
    not_measured: str = ""


class Results(Fact):
    format: int = FORMAT
    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, float | int | str | list[int]]
    works: tuple[WorkResult, ...]
    ratios: tuple[Ratio, ...]


def write(results: Results, file: Path) -> None:
    artifact.write_text(file, results.model_dump_json(indent=1) + "\n")


def read(file: Path) -> Results:
    return Results.model_validate_json(file.read_text(encoding="utf-8"))
