"""The page of a judgement: whole, without anything from elsewhere, and what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.judging import report
from ai102.judging.checks import findings_of
from ai102.judging.judgement import Judgement
from ai102.judging.page import band, html_of, points
from ai102.judging.record import Record
from tests.judging.records import record, with_memory, wrong


def judgement_of(made: Record) -> Judgement:
    findings = findings_of(made, 1.0)
    stop = next((finding for finding in findings if finding.state == "stop"), None)
    return Judgement(
        "grpc://canary", "grpc://primary", 0.1, "stop" if stop else "promote", stop.sentence if stop else "good", True,
        records=[made], findings=findings,
    )  # fmt: skip


@pytest.mark.parametrize("canary", [None, wrong], ids=["good", "bad"])
def test_the_page_has_every_plot_and_takes_nothing_from_elsewhere(canary: object) -> None:
    made = with_memory(record(canary) if canary else record(), 0.0)  # type: ignore[arg-type]
    judgement = judgement_of(made)
    page = html_of(judgement.as_dict())
    assert re.findall(r"(?:src|href)=|@import|url\(", page) == []
    assert page.count("<svg") == 5  # answers, two reliabilities, latency, memory
    assert ("The canary is stopped" if canary else "The canary may be promoted") in page
    assert judgement.reason in page


def test_a_page_of_nothing_yet_is_a_page() -> None:
    assert "nothing has been asked yet" in html_of(Judgement("grpc://canary", "", 0.1).as_dict())


def test_words_of_a_server_are_no_markup() -> None:
    judgement = Judgement("grpc://canary", "", 0.1, reason="<script>alert(1)</script>")
    assert "<script" not in html_of(judgement.as_dict())


def test_the_files_are_written_and_the_json_says_all(tmp_path: Path) -> None:
    judgement = judgement_of(record())
    json_file, page = report.write(judgement, tmp_path / "out")
    facts = json.loads(json_file.read_text(encoding="utf-8"))
    assert facts["verdict"] == "promote"
    assert {finding["check"] for finding in facts["findings"]} >= {"answers", "errors", "latency", "calibration"}
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file: name a folder"):
        report.write(judgement, tmp_path / "file")


def test_points_fill_the_axes() -> None:
    assert points([0, 1, 2], 100, 50, 0, 2) == "0.0,50.0 50.0,25.0 100.0,0.0"
    assert band([-1, -1], 100, 50, 0, 2) == ""
    assert band([-1, 0, 1], 100, 50, 0, 2) == "50.0,37.5 100.0,12.5 100,50 50.0,50"
