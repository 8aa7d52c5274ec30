"""Which grants a user has, and how yes and no are explained."""

from typing import Any

import pytest

from ai102.gateway.grants import explain, grants_for, role_grants
from ai102.gateway.policy import Gateway

POLICY: dict[str, Any] = {
    "triton": {"replicas": [{"name": "a", "http": "127.0.0.1:1", "grpc": "127.0.0.1:2"}]},
    "issuers": [{"issuer": "https://ai102.example", "audience": "ai102", "jwks": "http://127.0.0.1:3/jwks"}],
    "roles": {"viewer": {}, "caller": {"includes": ["viewer"]}, "operator": {"includes": ["caller"]}, "nurse": {}},
    "grants": [
        {"role": "viewer", "verbs": ["describe"], "models": ["*"]},
        {"role": "caller", "verbs": ["infer"], "models": ["embed_text", "sealed_*"], "max_body_bytes": 100},
        {"role": "operator", "verbs": ["infer", "administer"], "models": ["*"], "networks": ["10.0.0.0/255.0.0.0"],
         "hours_utc": "00:00-24:00"},
        {"role": "nurse", "verbs": ["infer"], "models": ["x-ray"], "user": {"ward": "radiology"}, "versions": ["2"],
         "hours_utc": "22:00-06:00"},
        {"role": "caller", "verbs": ["infer"], "models": ["sealed_*"]},
    ],
}  # fmt: skip
GATEWAY = Gateway.model_validate(POLICY)
VIEW = {"verbs": ["describe"], "models": ["*"]}
CALL = {"verbs": ["infer"], "models": ["embed_text", "sealed_*"], "max_body_bytes": 100}
SEALED = {"verbs": ["infer"], "models": ["sealed_*"]}
RUN = {"verbs": ["infer", "administer"], "models": ["*"], "networks": ["10.0.0.0/8"]}
NURSE = {"verbs": ["infer"], "models": ["x-ray"], "versions": ["2"], "hours_utc": "22:00-06:00"}
WARD = {"ward": "radiology"}


@pytest.mark.parametrize(
    ("roles", "attributes", "expected"),
    [
        ((), {}, []),
        (("viewer",), {}, [VIEW]),
        (("caller",), {}, [VIEW, CALL, SEALED]),
        (("operator",), {}, [VIEW, CALL, RUN, SEALED]),
        (("viewer", "caller", "viewer"), {}, [VIEW, CALL, SEALED]),
        (("nurse",), WARD, [NURSE]),
        (("nurse",), {}, []),
        (("nurse",), {"ward": "Radiology"}, []),
        (("nurse", "viewer"), WARD | {"floor": "2"}, [VIEW, NURSE]),
        (("nobody", ":user", "*"), WARD, []),
    ],
)
def test_a_user_has_the_grants_of_all_roles_reached_whose_attributes_suit(
    roles: tuple[str, ...], attributes: dict[str, str], expected: list[Any]
) -> None:
    assert grants_for(GATEWAY, roles, attributes) == expected


def test_a_role_has_its_grants_with_the_attributes_that_they_ask_for() -> None:
    assert role_grants(GATEWAY) == {
        "viewer": [VIEW], "caller": [VIEW, CALL, SEALED], "operator": [VIEW, CALL, RUN, SEALED],
        "nurse": [NURSE | {"user": WARD}],
    }  # fmt: skip


def test_roles_may_include_each_other_in_a_long_chain() -> None:
    roles = {f"r{number}": {"includes": [f"r{number - 1}"] if number else []} for number in range(30)}
    grants = [{"role": "r0", "verbs": ["infer"], "models": ["a"]}]
    gateway = Gateway.model_validate({**POLICY, "roles": roles, "grants": grants})
    assert grants_for(gateway, ("r29",), {}) == [{"verbs": ["infer"], "models": ["a"]}]
    assert explain(gateway, "ann", ("r29",), {}, "a", "infer").allowed


@pytest.mark.parametrize(
    ("roles", "attributes", "model", "verb", "grant", "lines"),
    [
        (("caller",), {}, "embed_text", "infer", 1, [
            "yes: ann may infer embed_text", "by grants[1] of role caller (given to the user), which names embed_text",
            "only with a body of at most 100 bytes",
        ]),
        (("operator",), {}, "sealed_x", "infer", 4, [
            "yes: ann may infer sealed_x", "by grants[4] of role caller (included in operator), which names sealed_*",
        ]),
        (("operator",), {}, "m", "administer", 2, [
            "yes: ann may administer m", "by grants[2] of role operator (given to the user), which names *",
            "only from 10.0.0.0/255.0.0.0",
        ]),
        (("nurse",), WARD, "x-ray", "infer", 3, [
            "yes: ann may infer x-ray", "by grants[3] of role nurse (given to the user), which names x-ray",
            "because ward is radiology", "only version 2, named in the request", "only at 22:00-06:00 UTC",
        ]),
        (("nurse",), {"ward": "surgery"}, "x-ray", "infer", None, [
            "no: ann may not infer x-ray", "ann has the roles nurse",
            "grants[2] of role operator would allow it: the user lacks the role",
            'grants[3] of role nurse wants ward "radiology": the user has "surgery"',
        ]),
        (("caller",), {}, "x", "infer", None, [
            "no: ann may not infer x", "ann has the roles caller, viewer",
            "grants[0] of role viewer names x, but for describe only",
            "grants[1] of role caller has infer, but for embed_text, sealed_* only",
            "grants[2] of role operator would allow it: the user lacks the role",
            "grants[4] of role caller has infer, but for sealed_* only",
        ]),
        (("gone",), {}, "x", "describe", None, [
            "no: ann may not describe x", '"gone" is no role of gateway.toml', "ann has no role",
            "grants[0] of role viewer would allow it: the user lacks the role",
        ]),
        ((), {}, "x", "fly", None, ["no: ann may not fly x", "ann has no role", "no grant of any role has fly for x"]),
    ],
)  # fmt: skip
def test_a_decision_says_which_grant_decides_or_what_the_nearest_lack(
    roles: tuple[str, ...], attributes: dict[str, str], model: str, verb: str, grant: int | None, lines: list[str]
) -> None:
    decision = explain(GATEWAY, "ann", roles, attributes, model, verb)
    assert (decision.allowed, decision.grant, str(decision).splitlines()) == (grant is not None, grant, lines)
