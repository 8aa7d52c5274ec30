"""What is revoked, as a proxy's thread reads it: in small steps, whole, and forgotten when it is over."""

import json
import secrets
from pathlib import Path
from typing import Any

from ai102.gateway.feed.jwks import Revocation
from ai102.gateway.policy import Issuer
from ai102.gateway.revocations import Journal
from tests.gateway.judge_core import NOW, Core, core, in_both_luas

LATER = NOW + 7200
COUNT = 100_000
# Of a step: a proxy's thread answers nobody meanwhile. Measured: 1 to 3 ms.
TRIES = 3  # what else runs makes a step longer, and never shorter
LONGEST_MS = 10


def state(issuer: str, journal: str) -> str:
    row: dict[str, Any] = {
        "audience": "a", "roles_claim": "r", "roles": {}, "is_ours": True, "revoked": journal, "keys": {},
    }  # fmt: skip
    return json.dumps({"version": 2, "written": NOW, "issuers": {issuer: row}, "role_grants": {}, "routes": {}})


def journal_of(folder: Path, name: str) -> Journal:
    """Of an issuer of that name, in an empty folder; its clock stands at NOW."""
    issuer = Issuer(issuer=name, audience="a", jwks="http://localhost/jwks", revoked="http://localhost/revoked")
    return Journal(folder, issuer, lambda: NOW)


def sessions(*sids: str) -> list[Revocation]:
    return [Revocation("sid", sid, LATER, 0) for sid in sids]


def follow(judge: Core, folder: Path, name: str, journal: str) -> None:
    assert judge.ask("load", state(name, journal)) == {"ok": True}
    while not judge.ask("read_revocations", str(folder))["all"]:
        pass


def is_revoked(judge: Core, name: str, *sids: str) -> int:
    return int(judge.ask("count_revoked", name, list(sids))["count"])


def longest_ms(lua: str, folder: Path) -> dict[str, float]:
    """The longest step of each kind with many revoked sessions, by a judge of its own: they slow the others down."""
    folder.mkdir()
    name, judge = f"many-{lua}", Core(lua)
    journal = journal_of(folder, name)
    sids = [secrets.token_hex(16) for _ in range(COUNT)]
    journal.add(sessions(*sids))
    assert judge.ask("load", state(name, journal.name)) == {"ok": True}
    read = judge.ask("time_of_steps", str(folder))
    looked = judge.ask("count_revoked", name, [*sids[:20_000], secrets.token_hex(16)])
    idle = judge.ask("time_of_steps", str(folder))
    swept = judge.ask("time_of_sweep", LATER)
    assert looked["count"] == 20_000
    assert is_revoked(judge, name, *sids[:20_000]) == 0
    assert read["steps"] > 100
    assert looked["each_us"] < 100  # it does not grow with their number; a list of them would take milliseconds
    return {"read": read["longest_ms"], "idle": idle["longest_ms"], "swept": swept["longest_ms"]}


@in_both_luas
def test_a_hundred_thousand_revoked_sessions_hold_up_no_thread(lua: str, tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    while len(seen) < TRIES and not any(max(each.values()) <= LONGEST_MS for each in seen):
        seen.append(longest_ms(lua, tmp_path / str(len(seen))))
    assert min(max(each.values()) for each in seen) <= LONGEST_MS, seen


@in_both_luas
def test_what_is_added_is_read_from_where_the_last_step_ended(lua: str, tmp_path: Path) -> None:
    judge, name = core(lua), f"added-{tmp_path}"
    journal = journal_of(tmp_path, name)
    journal.add(sessions("a" * 32))
    follow(judge, tmp_path, name, journal.name)
    with (tmp_path / journal.name).open("a") as file:
        file.write(f"sid {LATER} 0 {'b' * 16}")  # cut off: the rest comes later
        file.flush()
        follow(judge, tmp_path, name, journal.name)
        seen = [is_revoked(judge, name, "a" * 32, "b" * 16, "b" * 32)]
        file.write("b" * 16 + "\n")
        file.flush()
        follow(judge, tmp_path, name, journal.name)
        seen.append(is_revoked(judge, name, "a" * 32, "b" * 16, "b" * 32))
    assert seen == [1, 2]


@in_both_luas
def test_a_journal_that_begins_anew_takes_nothing_back(lua: str, tmp_path: Path) -> None:
    judge, name = core(lua), f"anew-{tmp_path}"
    first = journal_of(tmp_path, name)
    first.add(sessions("a", "b"))
    follow(judge, tmp_path, name, first.name)
    second = journal_of(tmp_path, name)
    second.add(sessions("c"))
    assert second.name != first.name
    follow(judge, tmp_path, name, second.name)
    (tmp_path / second.name).unlink()  # a file that is gone changes nothing either
    follow(judge, tmp_path, name, second.name)
    assert is_revoked(judge, name, "a", "b", "c", "d") == 3


@in_both_luas
def test_lines_that_are_none_are_passed_over(lua: str, tmp_path: Path) -> None:
    judge, name = core(lua), f"lines-{tmp_path}"
    lines = ["", "sid", "sid x 0 a", "aud 9 0 b", f"sid {LATER} 0 c", f"sid {LATER} 0 ", f"sid {LATER} 0 {'d' * 256}"]
    lines += ["\0\xff" * 40_000, f"sid {LATER} 0 e"]
    (tmp_path / "x.log").write_bytes("\n".join(lines).encode("latin-1") + b"\n")
    follow(judge, tmp_path, name, "x.log")
    assert is_revoked(judge, name, "a", "b", "c", "d" * 256, "e") == 2
