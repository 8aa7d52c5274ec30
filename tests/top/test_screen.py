"""The screen on narrow and wide terminals, with and without colour, and the same as JSON."""

import io
import json

import pytest
from rich.console import Console

from ai102.top.reading import Model, Pipeline, Reading, Replica
from ai102.top.screen import screen, unanswered
from ai102.top.states import judged
from ai102.top.watch import line

READING = Reading(
    "http://127.0.0.1:9090", 1.8e9, 60,
    (
        Pipeline("classify_image", 612, 1.0, 0.0, 0.0021, 0.0094, 3, 0.12, 0.999, 0.1),
        Pipeline("embed_text", 212, 0.91, 0.0, 0.088, 0.34, 31, 0.94, 0.999, 0.1),
        Pipeline("score_image"),
    ),
    (Model("embed_text", 212, 106, 0.087, 0.12, 0.62, 18.4, 14, 0), Model("minilm_int8")),
    (Replica("a", True, False, 17, 412, True), Replica("b", False, False, 0, None, False)),
    0.5, (), (), ("not shown: nothing",),
)  # fmt: skip


def printed(reading: Reading, width: int, **options: bool) -> str:
    text = io.StringIO()
    Console(file=text, width=width, highlight=False, **options).print(screen(judged(reading), width))  # type: ignore[arg-type]
    return text.getvalue()


@pytest.mark.parametrize("width", [200, 120, 100, 80, 60, 48, 40])
def test_no_row_is_wider_than_the_terminal_and_states_and_names_are_whole(width: int) -> None:
    lines = printed(READING, width).splitlines()
    assert max(len(line) for line in lines) <= width
    assert [line.split()[:2] for line in lines if line.startswith(("FAILING", "QUEUEING", "DOWN", "ok", "up"))] == [
        ["FAILING", "embed_text"],
        ["ok", "classify_image"],
        ["QUEUEING", "embed_text"],
        ["DOWN", "b"],
        ["up", "a"],
    ]


def test_what_is_wrong_stands_at_the_top_in_sentences() -> None:
    lines = printed(READING, 120).splitlines()
    assert lines[1:5] == [
        "3 WRONG",
        "  replica b: the gateway's checks fail, it gets no requests",
        "  pipeline embed_text: 9 % of its calls fail, 0.1 % may",
        "  model embed_text: requests wait 53.9 ms, 62 % of their time",
    ]


def test_a_wide_terminal_shows_every_figure() -> None:
    rows = [" ".join(line.split()) for line in printed(READING, 120).splitlines()]
    assert "FAILING embed_text 212 91.00 % 88 ms 340 ms 100 ms 31 94 % 0 %" in rows
    assert "QUEUEING embed_text 212 2 62 % 87 ms 120 ms 18.4 14 0" in rows


def test_without_colour_no_escape_is_printed_and_with_it_what_is_wrong_is_red() -> None:
    assert "\x1b[" not in printed(READING, 80)
    assert "\x1b[1;31mFAILING" in printed(READING, 80, force_terminal=True)


def test_all_well_is_said_in_words() -> None:
    assert printed(Reading("here", 0, 10), 80).splitlines()[1] == "ALL WELL"


def test_more_trouble_than_fits_is_counted() -> None:
    reading = Reading("here", 0, 10, problems=tuple(f"server {number} does not answer" for number in range(9)))
    assert printed(reading, 80).splitlines()[1:9:7] == ["9 WRONG", "  and 3 more"]


def test_an_old_screen_says_how_old_it_is() -> None:
    assert str(unanswered("http://here does not answer", 12.3)).endswith("does not answer; what follows is 12 s old")


def test_json_has_every_figure_with_state_and_reason() -> None:
    content = json.loads(line(judged(READING)))
    assert content["pipelines"][0] == {
        "state": "failing", "why": "9 % of its calls fail, 0.1 % may", "name": "embed_text", "rate": 212,
        "success": 0.91, "refused": 0.0, "p50_s": 0.088, "p99_s": 0.34, "in_flight": 31, "capacity_used": 0.94,
        "success_goal": 0.999, "p99_goal_s": 0.1,
    }  # fmt: skip
    assert (content["models"][0]["batch"], content["models"][1]["state"]) == (2, "idle")
    assert content["replicas"][0] == {
        "state": "down", "why": "the gateway's checks fail, it gets no requests", "name": "b", "is_up": False,
        "is_drained": False, "in_flight": 0, "rate": None, "answers": False,
    }  # fmt: skip
