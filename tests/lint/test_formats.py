"""Each format of the findings, whole."""

import json
from dataclasses import replace

import pytest

from ai102.lint import Finding, Fix
from ai102.lint.catalogue import CODES
from ai102.lint.formats import FORMATS

ERROR = Finding("m/config.pbtxt", 3, 7, "MR106", "error", "name is 'a', not 'm'", 'write "m"', Fix(1, 2, '"m"'))
WARNING = Finding("n/config.pbtxt", 1, 1, "MR902", "warning", "100% alone:\nall", "set max_batch_size")

TEXTS = {
    "none": ([], "no problems"),
    "one": (
        [WARNING],
        "r/n/config.pbtxt:1:1: MR902 warning: 100% alone:\nall: set max_batch_size\n0 errors, 1 warning",
    ),
    "two": (
        [ERROR, ERROR],
        "r/m/config.pbtxt:3:7: MR106 error: name is 'a', not 'm': write \"m\" [--fix does it]\n" * 2
        + "2 errors, 0 warnings",
    ),
}


@pytest.mark.parametrize(("findings", "wanted"), TEXTS.values(), ids=TEXTS)
def test_text_is_a_line_a_finding_and_their_number(findings: list[Finding], wanted: str) -> None:
    assert FORMATS["text"](findings, "r/") == wanted


def test_json_holds_every_field() -> None:
    assert json.loads(FORMATS["json"]([ERROR], "r/")) == [
        {
            "path": "r/m/config.pbtxt",
            "line": 3,
            "column": 7,
            "code": "MR106",
            "severity": "error",
            "message": "name is 'a', not 'm'",
            "advice": 'write "m"',
            "fix": {"start": 1, "end": 2, "text": '"m"'},
        }
    ]


def test_sarif_has_each_rule_once_and_each_result_points_at_its_rule() -> None:
    log = json.loads(FORMATS["sarif"]([ERROR, WARNING, WARNING], ""))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [(rule["id"], rule["fullDescription"]["text"]) for rule in rules] == [
        ("MR106", CODES["MR106"].why),
        ("MR902", CODES["MR902"].why),
    ]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == ["MR106", "MR902", "MR902"]
    assert run["results"][0] == {
        "ruleId": "MR106",
        "ruleIndex": 0,
        "level": "error",
        "message": {"text": "name is 'a', not 'm': write \"m\""},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "m/config.pbtxt"},
                    "region": {"startLine": 3, "startColumn": 7},
                }
            }
        ],
    }


def test_a_clean_repository_is_a_sarif_log_without_results() -> None:
    assert json.loads(FORMATS["sarif"]([], ""))["runs"][0]["results"] == []


def test_annotations_of_github_stay_on_one_line() -> None:
    assert FORMATS["github"]([WARNING], "r/") == (
        "::warning file=r/n/config.pbtxt,line=1,col=1,title=MR902 dynamic batching that batches nothing"
        "::100%25 alone:%0Aall: set max_batch_size"
    )


def test_code_quality_of_gitlab_has_what_gitlab_needs() -> None:
    first, second = json.loads(FORMATS["gitlab"]([ERROR, WARNING], "r/"))
    assert {**first, "fingerprint": ""} == {
        "description": "MR106: name is 'a', not 'm': write \"m\"",
        "check_name": "MR106",
        "fingerprint": "",
        "severity": "critical",
        "location": {"path": "r/m/config.pbtxt", "lines": {"begin": 3}},
    }
    assert second["severity"] == "minor"


def fingerprints(*findings: Finding) -> list[str]:
    return [row["fingerprint"] for row in json.loads(FORMATS["gitlab"](findings, ""))]


def test_a_finding_that_moved_keeps_its_fingerprint_and_equal_ones_have_two() -> None:
    assert fingerprints(ERROR) == fingerprints(replace(ERROR, line=9))
    assert len({*fingerprints(ERROR, replace(ERROR, line=9), WARNING)}) == 3


def test_a_clean_repository_is_an_empty_list_for_gitlab() -> None:
    assert json.loads(FORMATS["gitlab"]([], "")) == []
