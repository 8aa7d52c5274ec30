"""Traces are read from files of several forms, and a wrong row is named."""

from pathlib import Path

import pytest

from ai102.errors import UserError
from loadtest.traces.reading import FOLDER, Trace, read, trace_named

MINUTES = "period,count\n1998-06-23 00:00:00,60\n1998-06-23 00:01:00,120\n1998-06-23 00:02:00,\n"
SECONDS = "seconds,req_per_s\n0,5\n600,7.5\n"


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        (MINUTES, Trace("a", 60.0, (1.0, 2.0, None))),
        (SECONDS, Trace("a", 600.0, (5.0, 7.5))),
        ("minute,count\n1995-07-01 00:00,6\n1995-07-01 00:01,0\n", Trace("a", 60.0, (0.1, 0.0))),
        ("ts,value\n1628640000,39.7\n1628640060,39.8\n", Trace("a", 60.0, (39.7, 39.8))),
        ("seconds,vm_arrivals,batches\n300,91,46\n600,61,28\n", Trace("a", 300.0, (91.0, 61.0))),
    ],
)
def test_a_trace_has_calls_a_second_in_equal_steps(text: str, trace: Trace, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert read(tmp_path / "a.csv") == trace


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "wanted a header, a column of times"),
        ("seconds\n1\n2\n", "wanted a header, a column of times"),
        ("seconds,count\n0,1\n", "at least two rows"),
        ("seconds,count\n0,1\nlater,2\n", "line 3 is 'later,2': wanted a time and a number"),
        ("seconds,count\n0,1\n60,2\n180,3\n", "line 4 is 120 s after the one before, the first 60"),
        ("seconds,count\n0,1\n0,2\n", "line 3 is 0 s after the one before"),
    ],
)
def test_another_form_is_one_line(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=complaint):
        read(tmp_path / "a.csv")


def test_the_committed_traces_are_whole_days() -> None:
    lengths = {file.stem: read(file).length_s for file in FOLDER.glob("*.csv")}
    assert lengths == {"worldcup98-23-june": 86400.0, "servegen-m-mid-day-5": 86400.0}


def test_every_committed_trace_has_its_licence_and_its_origin() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for file in (*FOLDER.glob("*.csv"), *FOLDER.glob("LICENSE-*")):
        assert f"`{file.name}`" in readme


def test_a_trace_is_found_by_name_or_path(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "own.csv").write_text(SECONDS, encoding="utf-8")
    assert trace_named("worldcup98-23-june", {}).step_s == 60
    assert trace_named("more/own", {"TRACES": str(tmp_path)}).name == "own"
    assert trace_named(str(tmp_path / "more" / "own.csv"), {}).name == "own"
    with pytest.raises(UserError, match="there is no trace own: give a file, or one of servegen-m-mid-day-5, worldcup"):
        trace_named("own", {})


def test_a_part_of_a_trace_has_the_steps_that_begin_in_it() -> None:
    trace = Trace("a", 60.0, (1.0, 2.0, 3.0, 4.0))
    assert trace.between(60, 180).rates == (2.0, 3.0)
    with pytest.raises(UserError, match=r"a: lasts 0\.0666667 h, nothing is from 1 h on"):
        trace.between(3600, 7200)
