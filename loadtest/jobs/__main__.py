"""`python -m loadtest.jobs [WORK ...]`: measures and writes build/jobs-bench/results.json after each work.

`python -m loadtest.jobs peers` compares with other libraries for jobs, and writes peers.json there.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ai102.cli.screen import Screen
from ai102.errors import UserError
from ai102.host.cpu import cpu_name
from loadtest.jobs import compared, works
from loadtest.jobs.stack import Engine

WORKS: dict[str, Callable[[Engine], dict[str, Any]]] = {
    "accepted-100": lambda engine: works.accepted(engine, 100),
    "accepted-1": lambda engine: works.accepted(engine, 1),
    "idle": works.idle,
    "done": works.done,
    "done-texts": works.done_texts,
    "polite": works.polite,
    "memory": works.waiting_memory,
}
PEERS = "peers"


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(WORKS)}, {PEERS}; default: all but the last.")
    ] = None,
    engine: Annotated[str, typer.Option(help="embedded, dapr, both, embedded-fsync or dapr-fsync.")] = "both",
    only: Annotated[str, typer.Option(help=f"Of {PEERS}: {', '.join(compared.NAMES)}; default: all.")] = "",
    seconds: Annotated[float, typer.Option(help=f"Of {PEERS}: for each figure.", min=0.5)] = 3.0,
    kill_jobs: Annotated[int, typer.Option(help=f"Of {PEERS}: jobs beside kills; 0 for no kills.", min=0)] = 6000,
) -> None:
    """Measure how jobs are accepted and done on this machine, everything on the same cores."""
    if names == [PEERS]:
        compared.run([name for name in only.split(",") if name], seconds, kill_jobs, Screen())
        return
    engines: tuple[Engine, ...] = ("embedded", "dapr") if engine == "both" else (engine,)  # type: ignore[assignment]
    file = works.folder_of_results() / "results.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for name in names or WORKS:
        if name not in WORKS:
            raise UserError(f"there is no work {name!r}; there are {', '.join(WORKS)}, and {PEERS} by itself")
        for one in engines:
            figures = WORKS[name](one)
            typer.echo(f"{name} {one}: {json.dumps(figures)}")
            when = datetime.now(UTC).isoformat(timespec="seconds")
            machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "python": platform.python_version()}
            results[f"{name} {one}"] = {**figures, "date": when, "machine": machine}
            file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
