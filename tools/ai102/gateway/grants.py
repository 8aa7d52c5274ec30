"""Which grants a user has, and why a request would be allowed or not: gateway.toml judged by pycasbin."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import casbin

from ai102.gateway.policy import Gateway, Grant

# g gives roles to users and roles to roles; a policy line is one verb on one pattern of models, from one grant.
MODEL = """
[request_definition]
r = sub, attributes, obj, act

[policy_definition]
p = sub, obj, act, grant

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = g(r.sub, p.sub) && r.act == p.act && named(r.obj, p.obj) && suits(r.attributes, p.grant)
"""
# No role has a name like it: a role starts with a letter.
USER = ":user"
# What the request alone knows; the gateway looks at them.
CONDITIONS = ("versions", "networks", "hours_utc", "max_body_bytes")
ALL_DAY = ("", "00:00-24:00")


@dataclass(frozen=True)
class Decision:
    """Whether a user may, by which grant (its place in gateway.toml), under which conditions; or what is missing."""

    allowed: bool
    grant: int | None
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def grants_for(gateway: Gateway, roles: Sequence[str], attributes: Mapping[str, str]) -> list[dict[str, Any]]:
    """The grants of a user with these roles (those they include too) and attributes, as the gateway decides by them."""
    enforcer = _enforcer(gateway, roles)
    numbers = {int(line[3]) for line in enforcer.get_implicit_permissions_for_user(USER)}
    return [
        _row_of(grant)
        for number, grant in enumerate(gateway.grants)
        if number in numbers and _missing(grant, attributes) is None
    ]


def role_grants(gateway: Gateway) -> dict[str, list[dict[str, Any]]]:
    """For each role what its holder may, with the attributes in `user` that a grant asks for."""
    held = {role: gateway.roles_within((role,)) for role in gateway.roles}
    return {
        role: [
            _row_of(grant) | ({"user": dict(grant.user)} if grant.user else {})
            for grant in gateway.grants
            if grant.role in held[role]
        ]
        for role in gateway.roles
    }


def explain(
    gateway: Gateway, user: str, roles: Sequence[str], attributes: Mapping[str, str], model: str, verb: str
) -> Decision:
    """Why `user` may use `verb` on `model`, or what the nearest grants lack.

    Of several grants that allow it the one with the fewest conditions decides.
    """
    allowed, line = _enforcer(gateway, roles).enforce_ex(USER, dict(attributes), model, verb)
    if not allowed:
        return Decision(False, None, tuple(_refusal(gateway, user, roles, attributes, model, verb)))
    number = int(line[3])
    grant = gateway.grants[number]
    conditions = _conditions(grant)
    lines = [
        f"yes: {user} may {verb} {model}",
        f"by grants[{number}] of role {grant.role} ({_way(gateway, roles, grant.role)}), which names {line[1]}",
        *(f"because {name} is {value}" for name, value in sorted(grant.user.items())),
        *(f"only {condition}" for condition in conditions),
    ]
    return Decision(True, number, tuple(lines))


def _enforcer(gateway: Gateway, roles: Sequence[str]) -> casbin.Enforcer:
    model = casbin.Enforcer.new_model(text=MODEL)
    enforcer = casbin.Enforcer(model, enable_log=False)
    # Of its own accord casbin follows no more than ten roles, one including the other.
    enforcer.get_role_manager().max_hierarchy_level = len(gateway.roles) + 1
    # The first line that matches decides: those with fewer conditions come first.
    for number, grant in sorted(enumerate(gateway.grants), key=lambda row: len(_conditions(row[1]))):
        for pattern in grant.models:
            for verb in grant.verbs:
                enforcer.add_policy(grant.role, pattern, verb, str(number))
    for name, role in gateway.roles.items():
        for other in role.includes:
            enforcer.add_grouping_policy(name, other)
    for name in roles:
        if name in gateway.roles:
            enforcer.add_grouping_policy(USER, name)
    enforcer.add_function("named", _is_named)
    enforcer.add_function("suits", lambda have, number: _missing(gateway.grants[int(number)], have) is None)
    return enforcer


def _is_named(model: str, pattern: str) -> bool:
    """* stands for any run of characters; nothing else in a pattern is special, as policy.Pattern has it."""
    return re.fullmatch(fnmatch.translate(pattern), model) is not None


def _missing(grant: Grant, attributes: Mapping[str, str]) -> str | None:
    """The first attribute that the grant asks for and the user does not have."""
    return next((name for name, value in sorted(grant.user.items()) if attributes.get(name) != value), None)


def _row_of(grant: Grant) -> dict[str, Any]:
    row: dict[str, Any] = {"verbs": list(grant.verbs), "models": list(grant.models)}
    if grant.versions:
        row["versions"] = list(grant.versions)
    if grant.networks:
        row["networks"] = [str(ipaddress.ip_network(network)) for network in grant.networks]
    if grant.hours_utc not in ALL_DAY:
        row["hours_utc"] = grant.hours_utc
    if grant.max_body_bytes is not None:
        row["max_body_bytes"] = grant.max_body_bytes
    return row


def _conditions(grant: Grant) -> list[str]:
    words = {
        "versions": f"version {' or '.join(grant.versions)}, named in the request",
        "networks": f"from {' or '.join(grant.networks)}",
        "hours_utc": f"at {grant.hours_utc} UTC",
        "max_body_bytes": f"with a body of at most {grant.max_body_bytes} bytes",
    }
    return [words[name] for name in CONDITIONS if getattr(grant, name) and getattr(grant, name) not in ALL_DAY]


def _way(gateway: Gateway, roles: Sequence[str], role: str) -> str:
    """Why the user has a role."""
    if role in roles:
        return "given to the user"
    givers = [name for name in roles if role in gateway.roles_within((name,))]
    return f"included in {', '.join(givers)}"


def _refusal(
    gateway: Gateway, user: str, roles: Sequence[str], attributes: Mapping[str, str], model: str, verb: str
) -> Iterator[str]:
    yield f"no: {user} may not {verb} {model}"
    held = gateway.roles_within(tuple(roles))
    for name in roles:
        if name not in gateway.roles:
            yield f'"{name}" is no role of gateway.toml'
    yield f"{user} has the roles {', '.join(sorted(held))}" if held else f"{user} has no role"
    near = list(_near_misses(gateway, held, attributes, model, verb))
    yield from near or [f"no grant of any role has {verb} for {model}"]


def _near_misses(
    gateway: Gateway, held: set[str], attributes: Mapping[str, str], model: str, verb: str
) -> Iterator[str]:
    """What one grant each lacks, for those that lack one thing."""
    for number, grant in enumerate(gateway.grants):
        place = f"grants[{number}] of role {grant.role}"
        missing = _missing(grant, attributes)
        misses = []
        if grant.role not in held:
            misses.append(f"{place} would allow it: the user lacks the role")
        if verb not in grant.verbs:
            misses.append(f"{place} names {model}, but for {', '.join(grant.verbs)} only")
        if not any(_is_named(model, pattern) for pattern in grant.models):
            misses.append(f"{place} has {verb}, but for {', '.join(grant.models)} only")
        if missing is not None:
            have = f'has "{attributes[missing]}"' if missing in attributes else "has none"
            misses.append(f'{place} wants {missing} "{grant.user[missing]}": the user {have}')
        if len(misses) == 1:
            yield misses[0]
