"""Stored results, tables and the figure."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.console import Console

from loadtest.bench.plot import write_plot
from loadtest.bench.results import Results, ServerRow, WorkResult, read, write
from loadtest.bench.tables import tables_from_results
from tests.loadtest.bench.made_up import image_work, results


def test_results_survive_json(tmp_path: Path) -> None:
    write(results(LitServe="wrong answers"), tmp_path / "results.json")
    assert read(tmp_path / "results.json") == results(LitServe="wrong answers")


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Results.model_validate(results().model_dump() | {"more": 1})


def test_a_server_that_was_not_measured_has_no_figures() -> None:
    work = image_work()
    rows = (ServerRow(server="FastAPI", not_measured="wrong answers"),)
    with pytest.raises(ValidationError, match="FastAPI is not measured and has figures at concurrency 32"):
        WorkResult(work="image", about="", servers=rows, cells=work.cells)


def test_a_table_says_not_measured_and_why() -> None:
    console = Console(width=150, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    for table in tables_from_results(results(LitServe="wrong answers")):
        console.print(table)
    assert "LitServe not measured: wrong answers" in console.export_text()


def test_the_plot_is_written_also_where_a_peer_is_missing(tmp_path: Path) -> None:
    write_plot(results(LitServe="wrong answers"), tmp_path / "results.png")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_the_plot_of_nothing_is_written(tmp_path: Path) -> None:
    write_plot(results().model_copy(update={"works": ()}), tmp_path / "results.png")
    assert (tmp_path / "results.png").is_file()
