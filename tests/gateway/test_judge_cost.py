"""Hostile inputs cost the decision core time in proportion to their length, and no more."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.costly_inputs import AUTHORIZATIONS, HEADERS, JSON_TEXTS, MESSAGES, PATHS
from tests.gateway.judge_core import NOW, SERVICE, core, in_both_luas
from tests.gateway.test_judge_grpc import frame
from tests.gateway.test_judge_tokens import JOURNAL, REVOKED, STATE, opened

pytestmark = pytest.mark.slow

# A proxy may spend 5 ms on a request and 0.2 ms on each kB of it (test_hostile_input.py); a busy machine may take
# twice as long for the same. What is not linear costs far more than that at the largest of these sizes.
SIZES = (16_384, 262_144)
LIMITS = {"max_json_bytes": 1 << 20, "max_elements": 1 << 24}
# Lua 5.1 itself, which no proxy runs, keeps all strings in one table that they fill unevenly.
ONLY_IN_5_3 = {"keys that hash alike"}


def check(lua: str, size: int, *call: Any) -> None:
    """The call of the core is within the limit of a request of `size` bytes."""
    most_ms = 2 * (5 + 0.2 * size / 1000)
    assert core(lua).ask("cost", most_ms, *call)["ms"] <= most_ms, f"{size} bytes"


@in_both_luas
@pytest.mark.parametrize("name", JSON_TEXTS)
def test_json_costs_time_in_proportion_to_its_length(name: str, lua: str) -> None:
    if lua == "lua5.1" and name in ONLY_IN_5_3:
        pytest.skip("Lua 5.1 makes strings slowly that hash alike; nginx runs LuaJIT, which does not")
    for size in SIZES:
        check(lua, size, "json_problem", JSON_TEXTS[name](size), LIMITS, "generate" if "keys" in name else "infer")


@in_both_luas
@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_costs_time_in_proportion_to_its_length(name: str, lua: str) -> None:
    for size in SIZES:
        check(lua, size, "scan", SERVICE + "ModelInfer", "echo", "", [frame(MESSAGES[name](size))], LIMITS)


@in_both_luas
@pytest.mark.parametrize("name", AUTHORIZATIONS)
def test_a_token_costs_time_in_proportion_to_its_length(name: str, lua: str, tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text(REVOKED)
    opened(lua, tmp_path)
    authorization = AUTHORIZATIONS[name]
    assert core(lua).ask("authenticate", authorization, NOW) == "unauthenticated"
    check(lua, len(authorization), "authenticate", authorization, NOW)


@in_both_luas
@pytest.mark.parametrize("name", HEADERS)
def test_headers_cost_time_in_proportion_to_their_length(name: str, lua: str) -> None:
    headers: dict[str, Any] = {}
    for key, value in HEADERS[name]:
        headers[key] = [*headers.get(key, []), value]
    length = sum(len(key) + len(value) for key, value in HEADERS[name])
    check(lua, length, "header_problem", headers, "triton", 65_536)


@in_both_luas
@pytest.mark.parametrize("name", PATHS)
def test_a_path_costs_time_in_proportion_to_its_length(name: str, lua: str) -> None:
    core(lua).ask("load", json.dumps(STATE))
    check(lua, len(PATHS[name]), "rest_route", "GET", PATHS[name])


@in_both_luas
def test_the_rights_of_a_caller_with_many_grants_cost_no_more_than_a_request_may(lua: str) -> None:
    grants = [{"verbs": ["infer"], "models": ["a"], "networks": ["10.0.0.0/8", "192.168.0.0/16"]}] * 200
    assert core(lua).ask("may_infer", grants, "11.0.0.1", NOW) == ""
    check(lua, 0, "may_infer", grants, "11.0.0.1", NOW)


@in_both_luas
def test_a_glob_of_many_stars_costs_no_more_than_one_pass_for_each(lua: str) -> None:
    grants = [{"verbs": ["infer"], "models": ["*a" * 60 + "b"]}]
    request = {"verb": "infer", "model": "a" * 128, "now_s": NOW}
    assert core(lua).ask("decide", grants, request) == "forbidden"
    check(lua, 128, "decide", grants, request)
