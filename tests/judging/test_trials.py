"""The trials of releases: the same calls every time, what counts as harm, and the table of all."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ai102.errors import UserError
from tests.cluster.calls.record import Call
from tests.cluster.releases.callers import BROKEN, LABELS, SCORES, WRONG, Question, due_times, questions
from tests.cluster.releases.catalogue import names, release_from
from tests.cluster.releases.results import Results, sums, table
from tests.cluster.releases.trial import LATE_S, Seen, Trial, counted, unwatched
from tests.cluster.releases.ways import ALL_AT_ONCE, ERROR_RATE, OURS, WAYS, State
from tests.judging.bad.repository import ROOT

DIGITS = ("zero", "one", "two")


def trial(way: str, harmed: int, stopped_s: float | None, percent: float, release: str = "bad one") -> Trial:
    return Trial(release, way, 100, harmed, 0, 0, percent, stopped_s, None, "")


def test_every_trial_has_the_same_calls() -> None:
    first, second = (list(islice(questions(ROOT / "models.toml", DIGITS), 300)) for _ in range(2))
    assert first == second
    assert due_times(20.0, 90.0) == due_times(20.0, 90.0)
    assert {question.model for question in first} == {LABELS, SCORES}
    # Large images, JPEG files, and images as they are in the set.
    assert {question.image[:3] for question in first if question.label} == {b"\x89PN", b"\xff\xd8\xff"}
    # What is no image is to be refused.
    assert {question.image for question in first if not question.label} == {BROKEN}
    assert max(len(question.image) for question in first) > 10 * min(len(question.image) for question in first)


def test_pages_of_images_come_at_once() -> None:
    times = due_times(20.0, 90.0)
    assert times == sorted(times)
    assert times.count(6.0) == 8
    assert len(times) == pytest.approx(90 * 20 + 29 * 8, rel=0.1)


@pytest.mark.parametrize(
    ("label", "score", "is_right"), [("one", 0.9, True), ("two", 0.9, False), ("one", 90.0, False)]
)
def test_a_label_is_right_with_a_probability(label: str, score: float, is_right: bool) -> None:
    answer = {"label": np.array([[label.encode()]], object), "score": np.array([[score]], np.float32)}
    assert Question(LABELS, b"", "one", DIGITS)._is_right(answer) is is_right


@pytest.mark.parametrize(
    ("scores", "is_right"),
    [([0.1, 0.8, 0.1], True), ([0.8, 0.1, 0.1], False), ([0.0, 80.0, 20.0], False), ([0.1, float("nan"), 0.1], False)],
)
def test_scores_are_right_as_a_distribution(scores: list[float], is_right: bool) -> None:
    assert Question(SCORES, b"", "one", DIGITS)._is_right({"scores": np.array([scores], np.float32)}) is is_right


def test_harmed_are_calls_that_failed_wrong_ones_and_late_ones() -> None:
    failures = ("", "NoServerError: gone", WRONG)
    calls = [Call(LABELS, 0.0, 0.1, 1, failure) for failure in failures] + [Call(LABELS, 0.0, LATE_S + 0.1, 1)]
    assert dict(counted(calls)) == {"right": 1, "failed": 1, "wrong": 1, "late": 1}


def test_what_flagger_said_of_the_release_before_is_not_of_this_one() -> None:
    seen = Seen(OURS, unwatched)
    for at_s, phase, percent in [
        (0.5, "Failed", 0),
        (10, "Progressing", 0),
        (40, "Progressing", 10),
        (50, "Failed", 0),
    ]:
        seen.look(State(phase, percent), at_s)
    assert (seen.stopped_s, seen.promoted_s, seen.most_percent) == (50, None, 10)


def test_a_release_that_is_promoted_gets_all_calls() -> None:
    seen = Seen(ERROR_RATE, unwatched)
    for at_s, phase in [(0.5, "Succeeded"), (10, "Progressing"), (60, "Promoting"), (80, "Succeeded")]:
        seen.look(State(phase, 50), at_s)
    assert (seen.stopped_s, seen.promoted_s, seen.most_percent) == (None, 60, 100)


def test_results_are_kept_and_a_later_trial_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    results = Results.kept(tmp_path / "results.json")
    for harmed in (5, 7):
        results.add(trial(OURS, harmed, 12.0, 0))
    (kept,) = Results.kept(tmp_path / "results.json").trials
    assert kept == trial(OURS, 7, 12.0, 0)


def test_the_table_counts_releases_that_were_tried_in_every_way(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    for way, harmed, stopped_s, percent in [
        (ALL_AT_ONCE, 80, None, 100),
        (ERROR_RATE, 20, 60.0, 50),
        (OURS, 1, 30.0, 0),
    ]:
        results.add(trial(way, harmed, stopped_s, percent))
        results.add(trial(way, 0, None, 100, "good one"))
    results.add(trial(OURS, 9, None, 100, "tried in one way"))
    names = ["bad one", "tried in one way"]
    rows = {one.way: (one.bad, one.harmed, one.stopped, one.false_stops) for one in sums(results, names, ["good one"])}
    assert rows == dict(zip(WAYS, [(1, 80, 0, 0), (1, 20, 0, 0), (1, 1, 1, 0)], strict=True))
    text = table(results, names, ["good one"])
    assert "| ours | 1 of 100 (98.8 % fewer) | 1 of 1 | 30 s | 0 of 1 |" in text
    assert "95.0 % fewer harmed calls" in text


def test_a_folder_with_pipelines_is_a_release(tmp_path: Path) -> None:
    for folder in ("good one/classify_image", "repository/classify_image", "repository/score_image"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.pbtxt").write_text(folder, encoding="utf-8")
    release = release_from(str(tmp_path / "good one"))
    release.change(tmp_path / "repository")
    assert (release.name, release.is_good) == ("good one", True)
    texts = [file.read_text(encoding="utf-8") for file in sorted((tmp_path / "repository").glob("*/config.pbtxt"))]
    assert texts == ["good one/classify_image", "repository/score_image"]
    assert names(["good one", "another"], good=True)[-1] == "good one"
    assert names(["good one", "another"], good=False)[-1] == "another"


def test_an_unknown_release_is_one_line() -> None:
    with pytest.raises(UserError, match="there is no release 'none', and no folder of that name with pipelines: there"):
        release_from("none")
