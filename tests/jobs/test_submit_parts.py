"""The parts of `ai102 jobs submit` alone: which files there are, the journal, and the tables."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ai102.client import JobResult
from ai102.errors import UserError
from ai102.jobs.submit import table
from ai102.jobs.submit.cells import Column, cells_from_outputs, columns_from_outputs
from ai102.jobs.submit.files import MAX_FILE_BYTES, PART_BYTES, Entry, Refused, check_names, entries_from, read_part
from ai102.jobs.submit.journal import MAX_TRIES, Counts, Journal, Row

ENTRIES = [Entry(b"a.png", 1, 10), Entry(b"b.png", 2, 20), Entry(b"c.png", 3, 30)]
OUTPUTS = {"score": np.array([0.5], np.float32)}


def opened(folder: Path) -> Journal:
    return Journal(folder / "out.csv.jobs", "classify_image", ["."])


def test_files_are_found_below_a_folder_without_hidden_ones_and_links_to_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("b", "a", ".hidden", "deep/c", "out.csv", "out.csv.jobs"):
        (tmp_path / "in" / name).write_bytes(b"x")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "in" / "a")
    (tmp_path / "in" / "dangling").symlink_to(tmp_path / "nowhere")
    besides = {tmp_path / "in" / "out.csv", tmp_path / "in" / "out.csv.jobs"}
    found = sorted(entry.path for entry in entries_from(["./in/", "in/a"], besides))
    assert found == [b"in/a", b"in/a", b"in/b", b"in/deep/c", b"in/linked"]


def test_a_name_that_is_no_text_is_a_file_like_others(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.png"
    Path(os.fsdecode(path)).write_bytes(b"image")
    (entry,) = entries_from([str(tmp_path)], set())
    assert (entry.path, read_part([path]).files[0].content) == (path, b"image")
    with opened(tmp_path) as journal:
        journal.begin([entry])
        assert [row.file for row in journal.rows()] == [f"{tmp_path}/\N{REPLACEMENT CHARACTER}.png"]


def test_what_is_neither_a_file_nor_a_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe: it is neither a file nor a folder"):
        check_names([str(tmp_path / "pipe")])


def test_a_part_is_bounded_and_names_what_cannot_be_read(tmp_path: Path) -> None:
    sizes = {"a": PART_BYTES // 2, "b": 0, "c": MAX_FILE_BYTES + 1, "e": MAX_FILE_BYTES, "f": 1}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    part = read_part([os.fsencode(tmp_path / name) for name in "abcdef"])
    assert [len(read.content) for read in part.files] == [PART_BYTES // 2, MAX_FILE_BYTES]
    assert [(one.path[-1:], one.why) for one in part.refused] == [
        (b"b", "the file is empty"),
        (b"c", f"the file has {MAX_FILE_BYTES + 1} bytes: a job takes {MAX_FILE_BYTES} at most"),
        (b"d", "the file cannot be read (No such file or directory)"),
    ]


def test_the_journal_knows_after_a_new_start_what_was_done(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.begin(ENTRIES)
        keys = [journal.key_of(entry) for entry in ENTRIES]
        journal.handed_in(ENTRIES[:2], ["1", "2"])
        journal.ended([JobResult("1", "succeeded", OUTPUTS)])
        assert journal.counts == Counts(3, 2, 1)
    with opened(tmp_path) as journal:
        journal.begin(ENTRIES)
        assert journal.counts == Counts(3, 2, 1)
        assert (journal.unsent(9), journal.waiting(9)) == ([b"c.png"], ["2"])
        assert [journal.key_of(entry) for entry in ENTRIES] == keys
        assert next(journal.rows()) == Row("a.png", "succeeded", "", {"score": 0.5})


CHANGES: dict[str, Callable[[Entry], Entry]] = {
    "size": lambda entry: entry._replace(size=7),
    "time": lambda entry: entry._replace(mtime_ns=7),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changed_is_open_again_under_another_key(tmp_path: Path, change: Callable[[Entry], Entry]) -> None:
    with opened(tmp_path) as journal:
        journal.begin(ENTRIES)
        journal.handed_in(ENTRIES, ["1", "2", "3"])
        journal.ended([JobResult("1", "succeeded", OUTPUTS)])
        changed = change(ENTRIES[0])
        journal.begin([changed, *ENTRIES[1:]])
        assert (journal.unsent(9), journal.counts) == ([b"a.png"], Counts(3, 2, 0))
        assert journal.key_of(changed) != journal.key_of(ENTRIES[0])


def test_a_file_that_is_no_longer_there_is_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.begin(ENTRIES)
        journal.begin(ENTRIES[1:])
        assert [row.file for row in journal.rows()] == ["b.png", "c.png"]


def test_a_refused_file_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.begin(ENTRIES)
        journal.refused([Refused(b"a.png", "the file is empty")])
        assert (journal.counts, journal.first_failure()) == (
            Counts(3, 1, 1),
            Row("a.png", "refused", "the file is empty", {}),
        )
        journal.begin(ENTRIES)
        assert journal.counts == Counts(3, 0, 0)


def test_a_job_that_the_server_loses_again_and_again_is_given_up(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.begin(ENTRIES[:1])
        for number in range(1, MAX_TRIES + 1):
            assert journal.unsent(9) == [b"a.png"]
            journal.handed_in(ENTRIES[:1], [f"{number}"])
            journal.ended([JobResult(f"{number}", "gone", {}, "")])
        assert journal.is_complete
        assert journal.counts == Counts(1, 1, 1)
        assert list(journal.rows()) == [Row("a.png", "gone", f"the server lost its job {MAX_TRIES} times", {})]


def test_waiting_jobs_take_turns(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.begin(ENTRIES)
        journal.handed_in(ENTRIES, ["1", "2", "3"])
        assert [journal.waiting(2) for _ in range(3)] == [["1", "2"], ["3"], ["1", "2"]]


def test_a_removed_journal_leaves_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.begin(ENTRIES)
        journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_cells_of_their_type() -> None:
    outputs = {
        "label": np.array([b"seven"], object),
        "scores": np.array([1.0, np.inf, np.nan]),
        "matrix": np.array([[1, 2]], np.int64),
        "flag": np.array([True]),
        "none": np.empty((0,), np.float32),
    }
    assert cells_from_outputs(outputs) == {
        "label": "seven",
        "scores": [1.0, None, None],
        "matrix": [[1, 2]],
        "flag": True,
        "none": [],
    }
    assert columns_from_outputs(outputs) == [
        Column("label", "object", 0),
        Column("scores", "float64", 1),
        Column("matrix", "int64", 2),
        Column("flag", "bool", 0),
        Column("none", "float32", 1),
    ]


COLUMNS = [
    Column("n", "int64", 0),
    Column("state", "float32", 1),
    Column("mixed", "int64", 0),
    Column("mixed", "object", 0),
]
ROWS = [
    Row("a, b.png", "succeeded", "", {"n": 1, "state": [0.5, None], "mixed": 2}),
    Row("c.png", "succeeded", "", {"n": 2, "state": [], "mixed": "two"}),
    Row("d.png", "failed", 'it is "bad"', {}),
]


def test_a_table_in_csv_has_lists_as_json(tmp_path: Path) -> None:
    table.write(tmp_path / "out.csv", COLUMNS, ROWS)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as lines:
        assert list(csv.reader(lines)) == [
            ["file", "state", "error", "n", "output.state", "mixed"],
            ["a, b.png", "succeeded", "", "1", "[0.5, null]", "2"],
            ["c.png", "succeeded", "", "2", "[]", '"two"'],
            ["d.png", "failed", 'it is "bad"', "", "", ""],
        ]


def test_a_table_of_json_lines_has_every_column_in_each_line(tmp_path: Path) -> None:
    table.write(tmp_path / "out.jsonl", COLUMNS, ROWS)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {
        "file": "a, b.png", "state": "succeeded", "error": "", "n": 1, "output.state": [0.5, None], "mixed": "2",
    }  # fmt: skip
    assert lines[2]["output.state"] is None


def test_a_table_in_parquet_keeps_the_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow does not load here", exc_type=ImportError)
    table.write(tmp_path / "out.parquet", COLUMNS, ROWS)
    written = parquet.read_table(tmp_path / "out.parquet")
    assert [str(field.type) for field in written.schema][3:] == ["int64", "list<element: float>", "string"]
    assert written.column("output.state").to_pylist() == [[0.5, None], [], None]


def test_a_table_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    def failing() -> object:
        yield ROWS[0]
        raise UserError("the disk is full")

    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(UserError, match="the disk is full"):
        table.write(tmp_path / "out.csv", COLUMNS, failing())  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"
