"""What a service that decides by itself hears of a caller's rights: x-user-may-infer."""

from typing import Any

import pytest

from ai102.api.jobs.caller import MAY_INFER, USER, Grant, caller_of
from tests.gateway.judge_core import core, in_both_luas
from tests.gateway.test_judge_rights import NOON, grant

MAX_BYTES = 4096
DAY, NIGHT = "08:00-18:00", "22:00-06:00"
HERE, ELSEWHERE = "10.0.0.0/8", "11.0.0.0/8"

# grants, and what the header says to 10.1.2.3 at noon
TABLE: list[tuple[list[Any], str]] = [
    ([], ""),
    ([grant()], "a"),
    ([grant(models=["a", "b_*", "*.c-d"])], "a,b_*,*.c-d"),
    ([grant(), grant(models=["b"])], "a,b"),
    ([grant(models=["b"]), grant()], "b,a"),
    ([grant(max_body_bytes=100, models=["a", "b"])], "a=100,b=100"),
    ([grant(max_body_bytes=100), grant()], "a=100,a"),
    ([grant(max_body_bytes=16777216)], "a=16777216"),
    ([grant(max_body_bytes=10**30)], "a=999999999999999"),
    ([grant(), grant(models=["b"]), grant()], "a,b"),  # by two roles, or by one that includes the other
    ([grant(verbs=["infer", "describe"])], "a"),
    ([grant(verbs=["describe"]), grant(verbs=["administer"])], ""),
    ([grant(versions=["1"])], ""),
    ([grant(versions=[])], "a"),
    ([grant(networks=[HERE])], "a"),
    ([grant(networks=[ELSEWHERE])], ""),
    ([grant(networks=[ELSEWHERE, HERE])], "a"),
    ([grant(hours_utc=DAY)], "a"),
    ([grant(hours_utc=NIGHT)], ""),
    ([grant(hours_utc=DAY, networks=[ELSEWHERE])], ""),
    ([grant(networks=[ELSEWHERE], models=["*"]), grant(hours_utc=DAY, max_body_bytes=9)], "a=9"),
    # What the gateway does not understand gives nothing, and nothing but names gets into a header.
    ([grant(weekdays=["monday"]), grant(verbs=["infer", "own"])], ""),
    ([grant(models=["a\r\nX-User: root"]), grant(models=["b,*"]), grant(models=["b=9"])], ""),
    ([grant(models=["a", ""]), grant(models=[]), grant(models=["ä"]), grant(models=["b" * 129])], ""),
    ([grant(models=["b" * 128])], "b" * 128),
]


@in_both_luas
@pytest.mark.parametrize(("grants", "expected"), TABLE)
def test_the_header_says_what_the_grants_allow_here_and_now(lua: str, grants: list[Any], expected: str) -> None:
    assert core(lua).ask("may_infer", grants, "10.1.2.3", NOON) == expected


@in_both_luas
def test_a_caller_whose_address_is_not_known_has_the_grants_for_any_address(lua: str) -> None:
    grants = [grant(networks=["0.0.0.0/0", "::/0"]), grant(models=["b"])]
    assert [core(lua).ask("may_infer", grants, address, NOON) for address in ("nonsense", None)] == ["b", "b"]


def numbered(count: int, size: int = 8, **conditions: Any) -> list[dict[str, Any]]:
    """Grants of one pattern each, so many bytes long."""
    return [grant(models=[f"{number:0{size}d}"], **conditions) for number in range(count)]


@in_both_luas
@pytest.mark.parametrize(
    ("grants", "kept"),
    [
        (numbered(455), 455),  # of eight bytes and a comma
        (numbered(456), 455),
        (numbered(5_000), 455),
        (numbered(31, 128) + numbered(20), 31 + 10),  # 31 * 129, and 10 * 9 of the 97 bytes that are left
        ([*numbered(31, 128), grant(models=["a" * 96]), *numbered(2)], 32),  # 4,095 bytes
        ([*numbered(31, 128), grant(models=["a" * 97]), *numbered(2)], 32),  # 4,096
        ([*numbered(31, 128), grant(models=["a" * 98]), *numbered(2)], 31),  # none after the first that does not fit
        ([grant(models=["a" * 100, "b" * 100] * 21), *numbered(2)], 0),  # a grant is left out whole
        (numbered(500, networks=[ELSEWHERE]) + numbered(3), 3),  # only what holds here counts
        (numbered(2) * 3_000, 2),
    ],
)
def test_grants_that_do_not_fit_into_4_kb_are_left_out_whole_from_the_end(
    lua: str, grants: list[Any], kept: int
) -> None:
    words = core(lua).ask("may_infer", grants, "10.1.2.3", NOON)
    there = [row["models"][0] for row in grants if row.get("networks") != [ELSEWHERE]]
    assert words == ",".join(there[:kept])
    assert len(words) <= MAX_BYTES


@in_both_luas
def test_the_api_reads_the_header_as_the_gateway_means_it(lua: str) -> None:
    grants = [grant(models=["a", "b_*"]), grant(max_body_bytes=10, models=["*"]), grant(max_body_bytes=10**30)]
    words = core(lua).ask("may_infer", grants, "10.1.2.3", NOON)
    caller = caller_of({USER: "ann", MAY_INFER: words})
    assert (caller.name, caller.grants) == (
        "ann", (Grant("a", None), Grant("b_*", None), Grant("*", 10), Grant("a", 999_999_999_999_999)),
    )  # fmt: skip
    assert caller_of({USER: "ann"}).grants == ()
