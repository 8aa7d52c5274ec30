"""Logging in, refreshing and lock-out, over real SQLite and real argon2 and a clock that is moved."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from ai102.issuer import administer, revoke
from ai102.issuer.audit import Origin
from ai102.issuer.issuer import Issuer
from ai102.issuer.refusals import Refusal
from ai102.issuer.settings import HashCost, Lockout

from .conftest import BY, PASSWORD, START_S, Clock, MakeIssuer

HERE = Origin("192.0.2.1")


def log_in(
    issuer: Issuer, name: str = "alice", password: str = PASSWORD, scope: str = "", origin: Origin = HERE
) -> dict[str, Any]:
    login = issuer.begin_login(name, origin)
    return issuer.finish_login(login, password, is_right=issuer.is_right(login, password), scope=scope)


def claims(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(answer["access_token"], options={"verify_signature": False})
    return found


def outcome(work: Callable[[], object]) -> str:
    try:
        work()
    except Refusal as err:
        return f"{err.status} {err.error}"
    return "ok"


def guess(issuer: Issuer, name: str = "alice", origin: Origin = HERE, password: str = "wrong") -> str:
    return outcome(lambda: log_in(issuer, name, password, origin=origin))


def test_a_token_says_who_what_and_until_when(make_issuer: MakeIssuer) -> None:
    clock = Clock(START_S)
    said = claims(answer := log_in(make_issuer(clock)))
    now = int(START_S)
    random = {name: said.pop(name) for name in ("jti", "sid")}
    assert (said, {len(value) for value in random.values()}) == (
        {
            "iss": "https://ai102.example",
            "aud": "ai102",
            "sub": "alice",
            "iat": now,
            "nbf": now,
            "exp": now + 7200,
            "roles": ["caller"],
            "attributes": {},
        },
        {32},
    )
    assert {name: answer[name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "Bearer",
        "expires_in": 7200,
        "scope": "caller",
    }


def test_the_next_token_carries_an_attribute_that_a_grant_looks_at_and_no_other(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer(clock := Clock(START_S))
    before = log_in(issuer)
    models = [models_of(issuer, before)]
    administer.describe(issuer, "alice", {"department": "radiology", "floor": "2"}, BY)
    clock.move(2)
    after = issuer.refresh(before["refresh_token"], "", HERE)
    models.append(models_of(issuer, after))
    assert [claims(answer)["attributes"] for answer in (before, after)] == [{}, {"department": "radiology"}]
    assert models == [["*", "classify_image"], ["*", "classify_image", "xray"]]


def models_of(issuer: Issuer, answer: dict[str, Any]) -> list[str]:
    """What the bearer of a token may ask by today's policy."""
    return [model for grant in issuer.caller(answer["access_token"])["grants"] for model in grant["models"]]


SCOPES = [
    ("", "", "caller"),
    ("viewer", "", "viewer"),
    ("caller viewer", "viewer", "viewer"),
    ("operator", None, "400 invalid_scope"),
    ("viewer", "caller", "400 invalid_scope"),
    ("nothing", None, "400 invalid_scope"),
]


@pytest.mark.parametrize(("first", "then", "wanted"), SCOPES)
def test_a_scope_narrows_the_roles_and_never_widens_them(
    make_issuer: MakeIssuer, first: str, then: str | None, wanted: str
) -> None:
    issuer = make_issuer()
    try:
        answer = log_in(issuer, scope=first)
        found = issuer.refresh(answer["refresh_token"], then or "", HERE)["scope"]
    except Refusal as err:
        found = f"{err.status} {err.error}"
    assert found == wanted


def test_a_refresh_token_used_twice_ends_its_session_with_all_tokens(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer()
    first = log_in(issuer)
    second = issuer.refresh(first["refresh_token"], "", HERE)
    other = log_in(issuer)
    found = [
        outcome(lambda: issuer.refresh(first["refresh_token"], "", HERE)),
        outcome(lambda: issuer.refresh(second["refresh_token"], "", HERE)),
        outcome(lambda: issuer.caller(first["access_token"])),
        outcome(lambda: issuer.caller(second["access_token"])),
        outcome(lambda: issuer.caller(other["access_token"])),
    ]
    dead, bad = "400 invalid_grant", "401 invalid_token"
    assert found == [dead, dead, bad, bad, "ok"]


def test_of_many_that_use_one_refresh_token_at_once_one_at_most_gets_an_answer(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer()
    token = log_in(issuer)["refresh_token"]
    found: list[str] = []
    start = threading.Barrier(8)

    def race() -> None:
        start.wait()
        found.append(outcome(lambda: issuer.refresh(token, "", HERE)))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["400 invalid_grant"] * 7 + ["ok"]


LIFETIMES = [(7 * 24 * 3600 - 1, "ok"), (7 * 24 * 3600, "400 invalid_grant")]


@pytest.mark.parametrize(("later_s", "wanted"), LIFETIMES)
def test_a_refresh_token_has_an_end(make_issuer: MakeIssuer, later_s: int, wanted: str) -> None:
    issuer = make_issuer(clock := Clock(START_S))
    token = log_in(issuer)["refresh_token"]
    clock.now_s = int(START_S) + later_s
    assert outcome(lambda: issuer.refresh(token, "", HERE)) == wanted


def test_a_session_ends_however_often_it_is_refreshed(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer(clock := Clock(START_S))
    token, days = log_in(issuer)["refresh_token"], 0
    while days < 60:
        clock.move(24 * 3600)
        try:
            token = issuer.refresh(token, "", HERE)["refresh_token"]
        except Refusal:
            break
        days += 1
    assert days == 29


Change = Callable[[Issuer], object]
# What an administrator does: what it means for (an access token that is out, its refresh token, the old password).
CHANGES: dict[str, tuple[Change, tuple[str, str, str]]] = {
    "new password": (lambda i: administer.set_password(i, "alice", "another long one", BY), ("no", "no", "no")),
    "disabled": (lambda i: administer.set_disabled(i, "alice", True, BY), ("no", "no", "no")),
    "revoked": (lambda i: revoke.end_user(i, "alice", BY), ("no", "no", "ok")),
    "role taken": (lambda i: administer.take_roles(i, "alice", ["caller"], BY), ("no", "ok", "ok")),
    "role given": (lambda i: administer.give_roles(i, "alice", ["operator"], BY), ("ok", "ok", "ok")),
    "attribute": (lambda i: administer.describe(i, "alice", {"department": "x"}, BY), ("no", "ok", "ok")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_user_ends_what_it_must_and_no_more(make_issuer: MakeIssuer, change: str) -> None:
    issuer = make_issuer()
    work, wanted = CHANGES[change]
    answer = log_in(issuer)
    work(issuer)
    found = (
        outcome(lambda: issuer.caller(answer["access_token"])),
        outcome(lambda: issuer.caller(issuer.refresh(answer["refresh_token"], "", HERE)["access_token"])),
        outcome(lambda: issuer.caller(log_in(issuer)["access_token"])),
    )
    assert tuple("ok" if one == "ok" else "no" for one in found) == wanted


def test_revocations_vanish_when_the_tokens_have_expired_anyway(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer(clock := Clock(START_S))
    revoke.end_jti(issuer, "abc", BY)
    revoke.end_user(issuer, "alice", BY)
    before = issuer.revoked().revoked
    clock.now_s += 7200 + 62
    now = int(START_S)
    assert (before, issuer.revoked().revoked) == (
        [("jti", "abc", now + 7260, 0), ("sub", "alice", now + 7261, now + 1)],
        [],
    )


def test_whoever_follows_the_revocations_gets_each_once_and_a_repetition_not_at_all(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer(clock := Clock(START_S), feed_rows=3)
    ids = [f"t{number}" for number in range(7)]
    for jti in ids:
        revoke.end_jti(issuer, jti, BY)
    pages = [page := issuer.revoked()]
    while page.more:
        pages.append(page := issuer.revoked(page.next))
    assert [[row[1] for row in page.revoked] for page in pages] == [ids[:3], ids[3:6], ids[6:]]
    token = log_in(issuer)["access_token"]
    for _ in range(3):
        clock.move(1)
        revoke.end_token(issuer, token, HERE)
    later = issuer.revoked(page.next)
    assert [row[:2] for row in later.revoked] == [("sid", claims({"access_token": token})["sid"])]
    assert (issuer.revoked(later.next).revoked, {one.feed for one in pages}) == ([], {later.feed})


def test_all_tokens_of_a_session_are_one_revocation(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer()
    answers = [log_in(issuer)]
    for _ in range(5):
        answers.append(issuer.refresh(answers[-1]["refresh_token"], "", HERE))
    for answer in answers:
        revoke.end_token(issuer, answer["access_token"], HERE)
    assert len(issuer.revoked().revoked) == 1
    assert {outcome(lambda one=one: issuer.caller(one["access_token"])) for one in answers} == {"401 invalid_token"}  # type: ignore[misc]
    assert outcome(lambda: issuer.refresh(answers[-1]["refresh_token"], "", HERE)) == "400 invalid_grant"


def test_one_user_gets_so_many_tokens_in_a_minute_and_a_wrong_password_is_not_among_them(
    make_issuer: MakeIssuer,
) -> None:
    clock = Clock(START_S // 60 * 60)
    issuer = make_issuer(clock, tokens_per_minute=3, lockout_of_user=Lockout(free=1))
    answer = log_in(issuer)
    found = [guess(issuer), guess(issuer, password=PASSWORD)]
    found += [outcome(lambda: issuer.refresh(answer["refresh_token"], "", HERE))]
    found += [guess(issuer, password=PASSWORD) for _ in range(4)]
    clock.move(60)
    found += [guess(issuer, password=PASSWORD)]
    too_often = "429 temporarily_unavailable"
    assert found == ["400 invalid_grant", "ok", "ok", *[too_often] * 4, "ok"]


def test_guessing_locks_a_name_for_twice_as_long_each_time_up_to_a_limit(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer(clock := Clock(START_S), lockout_of_user=Lockout(free=2, first_s=2, longest_s=15))
    waits = []
    for _ in range(7):
        guess(issuer)
        try:
            issuer.begin_login("alice", HERE)
        except Refusal as err:
            waits.append(err.retry_after_s or 0)
            clock.now_s += waits[-1]
        else:
            waits.append(0)
    # An attempt that is begun counts, whatever becomes of it.
    assert waits == [0, 2, 4, 8, 15, 15, 15]


@pytest.mark.parametrize("name", ["alice", "nobody-of-that-name"])
def test_a_locked_name_refuses_the_right_password_too_and_whether_or_not_it_exists(
    make_issuer: MakeIssuer, name: str
) -> None:
    issuer = make_issuer(lockout_of_user=Lockout(free=2))
    found = [guess(issuer, name) for _ in range(4)] + [guess(issuer, name, password=PASSWORD)]
    refused, locked = "400 invalid_grant", "429 temporarily_unavailable"
    assert found == [refused] * 3 + [locked] * 2


UNLOCKS: dict[str, Change] = {
    "new password": lambda issuer: administer.set_password(issuer, "alice", PASSWORD, BY),
    "enabled": lambda issuer: administer.set_disabled(issuer, "alice", False, BY),
}


@pytest.mark.parametrize("how", UNLOCKS)
def test_an_administrator_unlocks(make_issuer: MakeIssuer, how: str) -> None:
    issuer = make_issuer(lockout_of_user=Lockout(free=1))
    locked = [guess(issuer) for _ in range(3)][-1]
    UNLOCKS[how](issuer)
    assert (locked, guess(issuer, password=PASSWORD)) == ("429 temporarily_unavailable", "ok")


def test_a_restart_does_not_unlock(make_issuer: MakeIssuer) -> None:
    clock = Clock(START_S)
    rule = Lockout(free=1)
    for _ in range(2):
        guess(make_issuer(clock, lockout_of_user=rule))
    assert guess(make_issuer(clock, lockout_of_user=rule), password=PASSWORD) == "429 temporarily_unavailable"


def test_a_right_password_forgets_the_failures(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer(lockout_of_user=Lockout(free=2))
    passwords = ["wrong", "wrong", PASSWORD] * 3
    assert [guess(issuer, password=password) for password in passwords][2::3] == ["ok"] * 3


def test_whoever_has_an_account_cannot_go_on_guessing_at_others_by_logging_in_between(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer(lockout_of_address=Lockout(free=3))
    found = []
    for number in range(4):
        found += [guess(issuer, f"victim{number}"), guess(issuer, password=PASSWORD)]
    assert found == ["400 invalid_grant", "ok"] * 3 + ["400 invalid_grant", "429 temporarily_unavailable"]


ADDRESSES = [
    ("192.0.2.1", "192.0.2.1", True),
    ("192.0.2.1", "192.0.2.2", False),
    ("192.0.2.1", "::ffff:192.0.2.1", True),
    ("2001:db8::1", "2001:db8::ffff:1", True),
    ("2001:db8::1", "2001:db8:0:1::1", False),
]


@pytest.mark.parametrize(("first", "second", "is_same"), ADDRESSES)
def test_an_address_is_locked_with_what_one_customer_has(
    make_issuer: MakeIssuer, first: str, second: str, is_same: bool
) -> None:
    issuer = make_issuer(lockout_of_address=Lockout(free=1))
    for number in range(2):
        guess(issuer, f"victim{number}", Origin(first))
    assert (guess(issuer, "victim9", Origin(second)) == "429 temporarily_unavailable") == is_same


def test_guesses_at_once_are_counted_before_any_is_answered(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer(lockout_of_user=Lockout(free=3))
    begun = [outcome(lambda: issuer.begin_login("alice", HERE)) for _ in range(6)]
    assert begun == ["ok"] * 4 + ["429 temporarily_unavailable"] * 2


def test_a_hash_of_another_cost_is_renewed_at_login_and_stays_right(make_issuer: MakeIssuer) -> None:
    make_issuer()
    dearer = make_issuer(hash_cost=HashCost(passes=2, memory_kib=128, lanes=1))
    kept = []
    for _ in range(2):
        log_in(dearer)
        with dearer.database.reading() as connection:
            kept.append(connection.execute("SELECT password_hash FROM users").fetchone()[0])
    assert (kept[0].split("$")[3], kept[0] == kept[1]) == ("m=128,t=2,p=1", True)


def test_the_audit_log_says_what_happened_and_holds_no_secret(make_issuer: MakeIssuer) -> None:
    issuer = make_issuer(lockout_of_user=Lockout(free=1))
    answer = log_in(issuer, origin=Origin("192.0.2.7", request_id="r-1"))
    again = issuer.refresh(answer["refresh_token"], "", HERE)
    revoke.end_token(issuer, again["access_token"], HERE)
    guess(issuer, "my secret passw0rd")
    for _ in range(3):
        guess(issuer)
    issuer.database.close()
    text = issuer.database.audit_file.read_text() + issuer.database.file.read_bytes().decode("latin-1")
    secrets = [
        PASSWORD,
        "my secret",
        *(one[kind] for one in (answer, again) for kind in ("access_token", "refresh_token")),
    ]
    with issuer.database.reading() as connection:
        rows = connection.execute("SELECT what, who, subject, address, request_id, outcome FROM audit").fetchall()
    assert ([secret for secret in secrets if secret in text], rows) == (
        [],
        [
            ("user add", "test", "alice", "command line", "", "ok"),
            ("login", "alice", "alice", "192.0.2.7", "r-1", "ok"),
            ("refresh", "alice", "alice", "192.0.2.1", "", "ok"),
            ("revoke", "alice", "alice", "192.0.2.1", "", "ok"),
            ("login", "(no such user)", "(no such user)", "192.0.2.1", "", "refused"),
            *[("login", "alice", "alice", "192.0.2.1", "", "refused")] * 3,
        ],
    )


@pytest.mark.parametrize("statement", ["DELETE FROM audit", "UPDATE audit SET who = 'somebody else'"])
def test_the_audit_log_only_grows(make_issuer: MakeIssuer, statement: str) -> None:
    issuer = make_issuer()
    with pytest.raises(sqlite3.IntegrityError, match="only grows"), issuer.database.change() as change:
        change.execute(statement)


def test_a_policy_that_breaks_while_it_runs_is_told_and_the_former_stays(
    make_issuer: MakeIssuer, told: list[str]
) -> None:
    issuer = make_issuer()
    file = issuer.rights.file
    text = file.read_text()
    found = []
    for content in (text.replace("[roles.viewer]", "[roles.viewer"), text.replace("classify_image", "other_model")):
        file.write_text(content)
        found.append(issuer.caller(log_in(issuer)["access_token"])["grants"][1]["models"])
    assert (found, [line.split(":")[0] for line in told]) == (
        [["classify_image"], ["other_model"]],
        ["the former policy stays in force"],
    )
