"""What a caller may do: grants against requests."""

import fnmatch
import ipaddress
import random
from typing import Any

import pytest

from tests.gateway.judge_core import core, in_both_luas

ALLOWED, FORBIDDEN, LARGE = {"allowed": True}, "forbidden", "too_large"
NOON = 1_800_000_000 // 86400 * 86400 + 12 * 3600


def grant(**conditions: Any) -> dict[str, Any]:
    return {"verbs": ["infer"], "models": ["a"]} | conditions


# grants, what differs from {infer, a, 10.1.2.3, noon}, and the answer
TABLE: list[tuple[list[Any], dict[str, Any], Any]] = [
    ([grant()], {}, ALLOWED),
    ([], {}, FORBIDDEN),
    ([], {"verb": "public", "model": None}, ALLOWED),
    # A job names its model in its body: the service judges that. Whoever may infer with any may hand one in.
    ([], {"verb": "own", "model": None}, ALLOWED),
    ([], {"verb": "submit", "model": None}, FORBIDDEN),
    ([grant()], {"verb": "submit", "model": None}, ALLOWED),
    ([grant(verbs=["describe", "administer"], models=["*"])], {"verb": "submit", "model": None}, FORBIDDEN),
    ([grant(versions=["1"])], {"verb": "submit", "model": None}, FORBIDDEN),
    ([grant(networks=["11.0.0.0/8"]), grant(hours_utc="11:00-12:00")], {"verb": "submit", "model": None}, FORBIDDEN),
    ([grant(max_body_bytes=10)], {"verb": "submit", "model": None, "body_bytes": 1 << 24}, ALLOWED),
    ([grant(verbs=["own"])], {"verb": "submit", "model": None}, FORBIDDEN),
    ([grant(verbs=["submit"])], {"verb": "submit", "model": None}, FORBIDDEN),
    ([grant()], {"verb": "describe"}, FORBIDDEN),
    ([grant()], {"verb": "administer"}, FORBIDDEN),
    ([grant(verbs=["describe", "infer"])], {"verb": "describe"}, ALLOWED),
    ([grant()], {"model": "b"}, FORBIDDEN),
    ([grant()], {"model": "aa"}, FORBIDDEN),
    ([grant()], {"model": None}, ALLOWED),
    ([grant(models=["x", "a"])], {}, ALLOWED),
    ([grant(models=["sealed_*"])], {"model": "sealed_a"}, ALLOWED),
    ([grant(models=["sealed_*"])], {"model": "sealed_"}, ALLOWED),
    ([grant(models=["sealed_*"])], {"model": "xsealed_a"}, FORBIDDEN),
    ([grant(models=["*_a"])], {"model": "x_a"}, ALLOWED),
    ([grant(models=["*_a"])], {"model": "x_ab"}, FORBIDDEN),
    ([grant(models=["a.b"])], {"model": "axb"}, FORBIDDEN),
    ([grant(models=["a-b"])], {"model": "ab"}, FORBIDDEN),
    ([grant(models=["a-b"])], {"model": "a-b"}, ALLOWED),
    ([grant(models=["*"])], {"model": "anything"}, ALLOWED),
    ([grant(models=["*"])], {"model": "*"}, ALLOWED),
    ([grant(models=["a*"])], {"model": "*"}, FORBIDDEN),
    ([grant(models=["%a+"])], {"model": "abc"}, FORBIDDEN),
    ([grant(versions=["2"])], {"version": "2"}, ALLOWED),
    ([grant(versions=["2"])], {"version": "1"}, FORBIDDEN),
    ([grant(versions=["2"])], {"version": ""}, FORBIDDEN),
    ([grant(versions=["2"])], {}, FORBIDDEN),
    ([grant(versions=[])], {}, ALLOWED),
    ([grant(networks=["10.0.0.0/8"])], {}, ALLOWED),
    ([grant(networks=["10.0.0.0/8"])], {"address": "11.0.0.1"}, FORBIDDEN),
    ([grant(networks=["10.0.0.0/8"])], {"address": "::ffff:10.0.0.1"}, ALLOWED),
    ([grant(networks=["10.0.0.0/8"])], {"address": "nonsense"}, FORBIDDEN),
    ([grant(networks=["10.0.0.0/8"])], {"address": None}, FORBIDDEN),
    ([grant(networks=["2001:db8::/32", "10.0.0.0/8"])], {"address": "2001:db8:1::5"}, ALLOWED),
    ([grant(networks=["nonsense"])], {}, FORBIDDEN),
    ([grant(hours_utc="08:00-18:00")], {}, ALLOWED),
    ([grant(hours_utc="12:00-12:01")], {}, ALLOWED),
    ([grant(hours_utc="11:00-12:00")], {}, FORBIDDEN),
    ([grant(hours_utc="22:00-06:00")], {}, FORBIDDEN),
    ([grant(hours_utc="22:00-06:00")], {"now_s": NOON + 11 * 3600}, ALLOWED),
    ([grant(hours_utc="22:00-06:00")], {"now_s": NOON - 7 * 3600}, ALLOWED),
    ([grant(hours_utc="00:00-24:00")], {"now_s": NOON + 43199}, ALLOWED),
    ([grant(hours_utc="soon")], {}, FORBIDDEN),
    ([grant(max_body_bytes=100)], {"body_bytes": 100}, ALLOWED | {"largest": 100}),
    ([grant(max_body_bytes=100)], {"body_bytes": 101}, LARGE),
    ([grant(max_body_bytes=100)], {}, ALLOWED | {"largest": 100}),
    ([grant(max_body_bytes=100), grant(max_body_bytes=200)], {"body_bytes": 150}, ALLOWED | {"largest": 200}),
    ([grant(max_body_bytes=100), grant()], {"body_bytes": 150}, ALLOWED),
    ([grant(max_body_bytes=100), grant(models=["b"])], {"body_bytes": 150}, LARGE),
    ([grant(networks=["11.0.0.0/8"]), grant(hours_utc="11:00-12:00")], {}, FORBIDDEN),
    # A condition that the gateway does not know might forbid just this.
    ([grant(weekdays=["monday"])], {}, FORBIDDEN),
    ([grant(verbs=["infer", "own"])], {}, FORBIDDEN),
    ([grant(models="a")], {}, FORBIDDEN),
    ([grant(models=[5])], {}, FORBIDDEN),
    ([5, None, "x", [], {}], {}, FORBIDDEN),
]


@in_both_luas
@pytest.mark.parametrize(("grants", "changes", "expected"), TABLE)
def test_a_request_is_allowed_when_one_grant_covers_all_of_it(
    lua: str, grants: list[Any], changes: dict[str, Any], expected: Any
) -> None:
    request = {"verb": "infer", "model": "a", "address": "10.1.2.3", "now_s": NOON} | changes
    assert core(lua).ask("decide", grants, request) == expected


@in_both_luas
def test_a_glob_names_what_python_says_it_names(lua: str) -> None:
    dice = random.Random(7)
    for _ in range(600):
        glob = "".join(dice.choices("ab.*", k=dice.randint(0, 7)))
        name = "".join(dice.choices("ab.", k=dice.randint(1, 7)))
        expected = ALLOWED if fnmatch.fnmatchcase(name, glob) else FORBIDDEN
        answer = core(lua).ask("decide", [grant(models=[glob])], {"verb": "infer", "model": name, "now_s": NOON})
        assert answer == expected, (glob, name)


@in_both_luas
def test_addresses_and_networks_mean_what_python_says_they_mean(lua: str) -> None:
    dice = random.Random(6)
    judge = core(lua)
    for _ in range(400):
        kind: Any = dice.choice((ipaddress.IPv4Address, ipaddress.IPv6Address))
        bits = 32 if kind is ipaddress.IPv4Address else 128
        address = kind(dice.getrandbits(bits) & dice.choice((-1, (1 << bits) - (1 << bits // 2), 0xFFFF)))
        prefix = dice.randint(0, bits)
        near = kind(int(address) ^ (dice.getrandbits(bits) >> dice.randint(0, bits)))
        network = ipaddress.ip_network(f"{near}/{prefix}", strict=False)
        if address.version == 6 and (address.ipv4_mapped or near.ipv4_mapped):
            continue  # counts as IPv4 here
        expected = {"known": True, "within": address in network}
        assert judge.ask("within", str(address), str(network)) == expected, (address, network)


@in_both_luas
@pytest.mark.parametrize(
    "text",
    [
        "", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "1.2.3.4\n", "0x1.2.3.4", ":", ":::",
        "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "g::", "12345::", "::1.2.3",
        "::1.2.3.4.5", "::1.2.3.4:5",
    ],
)  # fmt: skip
def test_what_is_no_address_is_in_no_network(lua: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ipaddress.ip_address(text)
    assert core(lua).ask("within", text, "0.0.0.0/0") == {"known": False, "within": False}
