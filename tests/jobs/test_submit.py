"""`ai102 jobs submit` before the real API: one job for each file, whatever stops it."""

import csv
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai102.jobs.item import arrays_from_item
from ai102.jobs.job import Claimed, Ended
from tests.cli import here
from tests.jobs.faulty import Fault, Proxy, faulty, hold_answer, say, stay_silent
from tests.jobs.served import JobsApi, failed, jobs_api, succeeded, working

pytestmark = pytest.mark.slow
COUNT = 2500  # three requests, as the files are few bytes
IN_TIME_S = 120.0


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsApi]:
    with jobs_api(tmp_path_factory.mktemp("jobs")) as served:
        yield served


@pytest.fixture
def proxy(api: JobsApi) -> Iterator[Proxy]:
    while api.ledger.erase(""):
        pass
    with faulty(api.url) as between:
        yield between


def photos(folder: Path, count: int) -> Path:
    (folder / "photos").mkdir(parents=True)
    for number in range(count):
        (folder / "photos" / f"{number:05}.png").write_bytes(b"photo %d" % number)
    return folder


def words_for(url: str, out: str = "results.csv", pipeline: str = "classify_image") -> list[str]:
    return ["jobs", "submit", "photos", "--pipeline", pipeline, "--out", out, "--url", url]


# A shell that started the tests in the background has set Ctrl-C to be ignored, and a program inherits that.
AI102 = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from ai102.cli.main import main
sys.argv[0] = "ai102"
main()
"""


def started(folder: Path, url: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", AI102, *words_for(url)]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def stopped_while_it_waits(proxy: Proxy, folder: Path) -> None:
    """A run that has handed everything in, ended by Ctrl-C while it waits for results."""
    proxy.faults = [("POST /v1/jobs/ended", stay_silent)]
    run = started(folder, proxy.url)
    assert proxy.is_reached.wait(IN_TIME_S)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=IN_TIME_S)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_file_has_one_row_in_the_order_of_the_paths(proxy: Proxy, api: JobsApi, tmp_path: Path) -> None:
    photos(tmp_path, 3)
    (tmp_path / "photos" / "more").mkdir()
    (tmp_path / "photos" / "more" / "x.png").write_bytes(b"x")
    (tmp_path / "photos" / ".hidden").write_bytes(b"x")
    with working(api.ledger):
        done = here.ai102(*words_for(proxy.url), cwd=tmp_path)
    assert done == (0, "results.csv: 4 files: 4 succeeded\n", "")
    outputs = {"state": "succeeded", "error": "", "label": "seven", "score": "0.75", "scores": "[0.25, 0.75, null]"}
    files = ["photos/00000.png", "photos/00001.png", "photos/00002.png", "photos/more/x.png"]
    assert rows_of(tmp_path / "results.csv") == [{"file": file, **outputs} for file in files]
    assert (names_in(tmp_path), api.count()) == (["photos", "results.csv"], 4)


def test_a_file_without_outputs_has_a_row_that_says_why(proxy: Proxy, api: JobsApi, tmp_path: Path) -> None:
    photos(tmp_path, 3)
    (tmp_path / "photos" / "empty.png").touch()
    (tmp_path / "photos" / "large.png").write_bytes(bytes((10 << 20) + 1))

    def second_fails(job: Claimed) -> Ended:
        return failed(job) if arrays_from_item(job.item)["image"][0] == b"photo 1" else succeeded(job)

    with working(api.ledger, second_fails):
        done = here.ai102(*words_for(proxy.url, "results.jsonl"), cwd=tmp_path)
    assert (done.status, done.output) == (1, "results.jsonl: 5 files: 2 refused, 2 succeeded, 1 failed\n")
    assert done.complaint == "the first without outputs: photos/00001.png: failed: The image is truncated or corrupt.\n"
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [(row["file"], row["state"], row["error"], row["label"]) for row in rows] == [
        ("photos/00000.png", "succeeded", "", "seven"),
        ("photos/00001.png", "failed", "The image is truncated or corrupt.", None),
        ("photos/00002.png", "succeeded", "", "seven"),
        ("photos/empty.png", "refused", "the file is empty", None),
        ("photos/large.png", "refused", "the file has 10485761 bytes: a job takes 10485756 at most", None),
    ]


MOMENTS = {
    "the first files are accepted and not written down": ("POST /v1/jobs", hold_answer),
    "results are waited for": ("POST /v1/jobs/ended", stay_silent),
}
SIGNALS = {"kill -9": (signal.SIGKILL, -signal.SIGKILL), "Ctrl-C": (signal.SIGINT, 130)}


@pytest.mark.parametrize(("number", "status"), SIGNALS.values(), ids=SIGNALS)
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_run_that_was_stopped_goes_on_and_hands_nothing_in_twice(
    proxy: Proxy, api: JobsApi, tmp_path: Path, moment: tuple[str, Fault], number: signal.Signals, status: int
) -> None:
    photos(tmp_path, COUNT)
    proxy.faults = [moment]
    run = started(tmp_path, proxy.url)
    assert proxy.is_reached.wait(IN_TIME_S)
    run.send_signal(number)
    _, complaint = run.communicate(timeout=IN_TIME_S)
    assert run.returncode == status
    assert 0 < api.count() <= COUNT
    assert "results.csv.jobs" in names_in(tmp_path)
    if number is signal.SIGINT:
        assert complaint.startswith("ai102: stopped: ")
        assert complaint.endswith(" are done; the same command again goes on from here\n")
        assert complaint.count("\n") == 1
    with working(api.ledger):
        again = here.ai102(*words_for(api.url), cwd=tmp_path)
    assert again == (0, f"results.csv: {COUNT} files: {COUNT} succeeded\n", "")
    assert api.count() == COUNT
    assert len(rows_of(tmp_path / "results.csv")) == COUNT
    assert names_in(tmp_path) == ["photos", "results.csv"]


def test_a_run_that_is_killed_again_and_again_leaves_a_whole_journal(
    proxy: Proxy, api: JobsApi, tmp_path: Path
) -> None:
    photos(tmp_path, COUNT)
    for so_many in (1, 1500, COUNT):
        run = started(tmp_path, proxy.url)
        while api.count() < so_many:
            assert run.poll() is None
        run.kill()
        run.communicate(timeout=IN_TIME_S)
    with working(api.ledger):
        again = here.ai102(*words_for(proxy.url), cwd=tmp_path)
    assert (again.status, len(rows_of(tmp_path / "results.csv"))) == (0, COUNT)
    assert api.count() == COUNT


def test_files_whose_jobs_the_server_lost_are_handed_in_again(proxy: Proxy, api: JobsApi, tmp_path: Path) -> None:
    photos(tmp_path, 5)
    stopped_while_it_waits(proxy, tmp_path)
    assert api.ledger.erase("") == 5
    with working(api.ledger):
        again = here.ai102(*words_for(api.url), cwd=tmp_path)
    assert (again.status, again.output) == (0, "results.csv: 5 files: 5 succeeded\n")
    assert api.count() == 5


def test_a_file_that_changed_meanwhile_is_handed_in_anew(proxy: Proxy, api: JobsApi, tmp_path: Path) -> None:
    photos(tmp_path, 3)
    stopped_while_it_waits(proxy, tmp_path)
    (tmp_path / "photos" / "00001.png").write_bytes(b"another photo")
    with working(api.ledger):
        assert here.ai102(*words_for(api.url), cwd=tmp_path).status == 0
    assert api.count() == 4
    assert len(rows_of(tmp_path / "results.csv")) == 3


def test_parquet_has_a_typed_column_for_each_output(proxy: Proxy, api: JobsApi, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow does not load here", exc_type=ImportError)
    photos(tmp_path, 2)
    (tmp_path / "photos" / "empty.png").touch()
    with working(api.ledger):
        assert here.ai102(*words_for(proxy.url, "results.parquet"), cwd=tmp_path).status == 1
    table = parquet.read_table(tmp_path / "results.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "file": "string", "state": "string", "error": "string",
        "label": "string", "score": "float", "scores": "list<element: float>",
    }  # fmt: skip
    assert table.column("scores").to_pylist() == [[0.25, 0.75, None], [0.25, 0.75, None], None]


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no such folder": (["nowhere", "--out", "r.csv"], "nowhere: there is no such file or folder"),
    "an empty folder": (["empty", "--out", "r.csv"], "empty: there is no file to hand in"),
    "an unknown suffix": (["photos", "--out", "r.xlsx"], "--out r.xlsx: the suffix says how results are written: use"),
    "an output that is a folder": (["photos", "--out", "a.csv"], "--out a.csv: it is a folder: name a file"),
    "no server": (["photos", "--out", "r.csv", "--url", "http://127.0.0.1:9"], "no API answers (Connection refused)"),
    "no address": (["photos", "--out", "r.csv", "--url", "127.0.0.1:8090"], "no address of the API: write http://"),
    "no such pipeline": (["photos", "--out", "r.csv", "--pipeline", "classify_imgae"], "There is no such model."),
    "no token file": (["photos", "--out", "r.csv", "--token-file", "t"], "--token-file t: it cannot be read (No such"),
    "an empty token file": (["photos", "--out", "r.csv", "--token-file", "none"], "--token-file none: it is empty"),
    "a journal of another program": (["photos", "--out", "text.csv"], "text.csv.jobs: no journal of `ai102 jobs"),
}


@pytest.mark.parametrize(("words", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_handed_in(
    proxy: Proxy, api: JobsApi, tmp_path: Path, words: list[str], sentence: str
) -> None:
    photos(tmp_path, 1)
    for folder in ("empty", "a.csv"):
        (tmp_path / folder).mkdir()
    (tmp_path / "text.csv.jobs").write_text("my jobs: none\n" * 100)
    (tmp_path / "none").touch()
    given = ["--pipeline", "classify_image", "--url", proxy.url]
    missing = [word for at in (0, 2) if given[at] not in words for word in given[at : at + 2]]
    done = here.ai102("jobs", "submit", *words, *missing, cwd=tmp_path)
    assert (done.status, done.output, done.complaint.count("\n")) == (2, "", 1)
    assert done.complaint.startswith("ai102: ")
    assert sentence in done.complaint
    assert api.count() == 0
    assert not (tmp_path / "r.csv").exists()


def test_an_api_without_jobs_is_one_line(proxy: Proxy, tmp_path: Path) -> None:
    photos(tmp_path, 1)
    proxy.faults = [("GET /v1/jobs", say(404, {"detail": "There is nothing at this address."}))]
    done = here.ai102(*words_for(proxy.url), cwd=tmp_path)
    assert (done.status, done.complaint.count("\n")) == (2, 1)
    assert "the server takes no jobs (HTTP 404); start one with `ai102 api serve --jobs FOLDER`" in done.complaint


def test_a_pipeline_that_was_mistyped_is_no_obstacle_to_the_right_one(
    proxy: Proxy, api: JobsApi, tmp_path: Path
) -> None:
    photos(tmp_path, 1)
    assert here.ai102(*words_for(proxy.url, pipeline="classify_imgae"), cwd=tmp_path).status == 2
    with working(api.ledger):
        assert here.ai102(*words_for(proxy.url), cwd=tmp_path).status == 0


def test_an_unfinished_run_is_not_mixed_with_another(proxy: Proxy, api: JobsApi, tmp_path: Path) -> None:
    photos(tmp_path, 1)
    proxy.faults = [("POST /v1/jobs/ended", stay_silent)]
    run = started(tmp_path, proxy.url)
    assert proxy.is_reached.wait(IN_TIME_S)
    meanwhile = here.ai102(*words_for(api.url), cwd=tmp_path)
    assert (meanwhile.status, "another run with the same output is under way" in meanwhile.complaint) == (2, True)
    run.kill()
    run.communicate(timeout=IN_TIME_S)
    other = here.ai102(*words_for(api.url, pipeline="score_image"), cwd=tmp_path)
    assert (other.status, other.complaint.count("\n")) == (2, 1)
    assert "results.csv.jobs: it is of --pipeline classify_image photos, which is not finished" in other.complaint


def test_a_failing_server_leaves_what_there_is_for_the_next_run(proxy: Proxy, api: JobsApi, tmp_path: Path) -> None:
    photos(tmp_path, 2)
    proxy.faults = [("POST /v1/jobs/ended", say(500, {"detail": "Something went wrong here."}))]
    done = here.ai102(*words_for(proxy.url), cwd=tmp_path)
    assert (done.status, done.complaint) == (2, "ai102: Something went wrong here.\n")
    with sqlite3.connect(tmp_path / "results.csv.jobs") as journal:
        assert journal.execute("SELECT count(job) FROM files").fetchone() == (2,)
    journal.close()
    with working(api.ledger):
        assert here.ai102(*words_for(proxy.url), cwd=tmp_path).status == 0
    assert api.count() == 2


def test_without_pyarrow_parquet_is_refused_before_anything_is_handed_in(
    proxy: Proxy, api: JobsApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    photos(tmp_path, 1)
    done = here.ai102(*words_for(proxy.url, "results.parquet"), cwd=tmp_path)
    assert (done.status, api.count()) == (2, 0)
    assert "pip install 'ai102[jobs]', or write .csv or .jsonl" in done.complaint
