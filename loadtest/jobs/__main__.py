"""`python -m loadtest.jobs [WORK ...]`: measures and writes build/jobs-bench/results.json after each work."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ai102.errors import UserError
from ai102.host.cpu import cpu_name
from loadtest.jobs import works
from loadtest.jobs.stack import Engine

WORKS: dict[str, Callable[[Engine], dict[str, Any]]] = {
    "accepted-100": lambda engine: works.accepted(engine, 100),
    "accepted-1": lambda engine: works.accepted(engine, 1),
    "idle": works.idle,
    "done": works.done,
    "polite": works.polite,
    "memory": works.waiting_memory,
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(WORKS)}; default: all.")] = None,
    engine: Annotated[str, typer.Option(help="embedded, dapr, both, embedded-fsync or dapr-fsync.")] = "both",
) -> None:
    """Measure how jobs are accepted and done on this machine, everything on the same cores."""
    engines: tuple[Engine, ...] = ("embedded", "dapr") if engine == "both" else (engine,)  # type: ignore[assignment]
    file = works.folder_of_results() / "results.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for name in names or WORKS:
        if name not in WORKS:
            raise UserError(f"there is no work {name!r}; there are {', '.join(WORKS)}")
        for one in engines:
            figures = WORKS[name](one)
            typer.echo(f"{name} {one}: {json.dumps(figures)}")
            when = datetime.now(UTC).isoformat(timespec="seconds")
            machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "python": platform.python_version()}
            results[f"{name} {one}"] = {**figures, "date": when, "machine": machine}
            file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
