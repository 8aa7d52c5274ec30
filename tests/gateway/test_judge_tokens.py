"""Whose word a token is, and when it is not: each row is a token somebody might send, and what the gateway answers."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.gateway.judge_core import NOW, Core, core, in_both_luas

OURS, FOREIGN = "https://ai102.example", "https://login.example"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE_KEY = ec.generate_private_key(ec.SECP256R1())
GRANT = {"verbs": ["infer"], "models": ["a"]}
JOURNAL = "ours.1.log"
REVOKED = f"jti {NOW + 60} 0 gone\nsid {NOW + 60} 0 left\nsub {NOW + 60} {NOW - 50} eve\n"


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the journal of what OURS has revoked."""
    folder = tmp_path_factory.mktemp("revoked")
    (folder / JOURNAL).write_text(REVOKED)
    return folder


def opened(lua: str, journals: Path, state: Mapping[str, Any] | None = None) -> Core:
    """A core with the state and all revocations."""
    judge = core(lua)
    assert judge.ask("load", json.dumps(state or STATE))["ok"]
    assert judge.ask("read_revocations", str(journals)) == {"all": True}
    return judge


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


STATE: dict[str, Any] = {
    "version": 2,
    "written": NOW,
    "issuers": {
        OURS: {
            "audience": "ai102", "roles_claim": "roles", "roles": {}, "is_ours": True, "revoked": JOURNAL,
            "keys": {
                "k": {"alg": "RS256", "pem": pem(KEY)},
                "curve": {"alg": "ES256", "pem": pem(CURVE_KEY)},
                "not-a-key": {"alg": "RS256", "pem": "-----BEGIN PUBLIC KEY-----\nnone\n-----END PUBLIC KEY-----\n"},
            },
        },
        FOREIGN: {
            "audience": "judge", "roles_claim": "groups", "roles": {"ml": "caller"}, "is_ours": False,
            "revoked": "", "keys": {"f": {"alg": "RS256", "pem": pem(STRANGER)}},
        },
        "https://silent.example": {
            "audience": "ai102", "roles_claim": "roles", "roles": {}, "is_ours": True, "revoked": "", "keys": {},
        },
    },
    "role_grants": {"caller": [GRANT], "viewer": [GRANT, GRANT]},
    "routes": {},
}  # fmt: skip
CLAIMS: dict[str, Any] = {
    "iss": OURS, "aud": "ai102", "sub": "ann", "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 60, "jti": "j",
    "sid": "s", "roles": ["caller"], "attributes": {},
}  # fmt: skip
HEADER: dict[str, Any] = {"typ": "at+jwt", "alg": "RS256", "kid": "k"}
CURVE = HEADER | {"alg": "ES256", "kid": "curve"}
MISSING = object()


def part(value: str | bytes | Mapping[str, Any]) -> str:
    if isinstance(value, Mapping):
        value = json.dumps(value)
    raw = value.encode() if isinstance(value, str) else value
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def changed(usual: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**usual, **changes}.items() if value is not MISSING}


def signed(head: str, body: str, key: Any = KEY) -> str:
    message = f"{head}.{body}"
    algorithm = jwt.get_algorithm_by_name("ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256")
    return f"{message}.{part(algorithm.sign(message.encode(), key))}"


def token(header: Mapping[str, Any] | None = None, key: Any = KEY, **claims: Any) -> str:
    return signed(part(changed(HEADER, header or {})), part(changed(CLAIMS, claims)), key)


def with_text(old: str, new: str, of: str = "claims") -> str:
    """A token whose header or claims are not what json.dumps writes."""
    texts = {"header": json.dumps(HEADER), "claims": json.dumps(CLAIMS)}
    assert old in texts[of]
    texts[of] = texts[of].replace(old, new)
    return signed(part(texts["header"]), part(texts["claims"]))


def hmac_with_public_key() -> str:
    message = f"{part(HEADER | {'alg': 'HS256'})}.{part(CLAIMS)}"
    return f"{message}.{part(hmac.new(pem(KEY).encode(), message.encode(), hashlib.sha256).digest())}"


def altered(place: int) -> str:
    good = token()
    return good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :]


def with_unused_bits(good: str) -> str:
    """The same bytes, written with another last letter: a signature of 256 bytes leaves four bits of it unused."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return good[:-1] + letters[letters.index(good[-1]) + 1]


def foreign(**claims: Any) -> str:
    return token({"kid": "f"}, STRANGER, **({"iss": FOREIGN, "aud": "judge", "groups": ["ml"]} | claims))


REFUSED, TAKEN = "unauthenticated", "ann"


class Row(NamedTuple):
    what: str
    token: Callable[[], str]
    expected: str = REFUSED


TABLE = [
    Row("a good one", token, TAKEN),
    Row("type JWT", lambda: token({"typ": "JWT"}), TAKEN),
    Row("audience in a list", lambda: token(aud=["other", "ai102"]), TAKEN),
    Row("ES256", lambda: token({"alg": "ES256", "kid": "curve"}, CURVE_KEY), TAKEN),
    Row("no nbf", lambda: token(nbf=MISSING), TAKEN),
    Row("nbf within the leeway", lambda: token(nbf=NOW + 4), TAKEN),
    Row("exp with a fraction", lambda: token(exp=NOW + 0.5), TAKEN),
    Row("foreign", foreign, TAKEN),
    Row("algorithm none", lambda: f"{part(HEADER | {'alg': 'none'})}.{part(CLAIMS)}."),
    Row("algorithm none, signed", lambda: token({"alg": "none"})),
    Row("algorithm None", lambda: token({"alg": "nOnE"})),
    Row("the public key as HMAC secret", hmac_with_public_key),
    Row("RS256 key, header ES256", lambda: token({"alg": "ES256"})),
    Row("RS256 key, header PS256", lambda: token({"alg": "PS256"})),
    Row("RS256 key, header RS512", lambda: token({"alg": "RS512"})),
    Row("algorithm missing", lambda: token({"alg": MISSING})),
    Row("algorithm a list", lambda: token({"alg": ["RS256"]})),
    Row("ES256 key, RSA signature", lambda: token({"alg": "ES256", "kid": "curve"})),
    Row("ES256 of zeros", lambda: f"{part(CURVE)}.{part(CLAIMS)}.{part(bytes(64))}"),
    Row("ES256 in DER", lambda: f"{part(CURVE)}.{part(CLAIMS)}.{part(bytes(70))}"),
    Row("another's key", lambda: token(key=STRANGER)),
    Row("kid of another issuer", lambda: token({"kid": "f"}, STRANGER)),
    Row("kid unknown, as after a rotation", lambda: token({"kid": "old"})),
    Row("kid missing", lambda: token({"kid": MISSING})),
    Row("kid a number", lambda: token({"kid": 5})),
    Row("kid a path", lambda: token({"kid": "../../../../dev/null"})),
    Row("kid an address", lambda: token({"kid": "https://evil.example/key"})),
    Row("kid of a key that is none", lambda: token({"kid": "not-a-key"})),
    Row("jku", lambda: token({"jku": "https://evil.example/jwks"})),
    Row("x5u", lambda: token({"x5u": "https://evil.example/cert"})),
    Row("x5c", lambda: token({"x5c": ["MII"]})),
    Row("jwk", lambda: token({"jwk": {"kty": "RSA"}})),
    Row("crit", lambda: token({"crit": ["exp"]})),
    Row("b64", lambda: token({"b64": False})),
    Row("type of something else", lambda: token({"typ": "secevent+jwt"})),
    Row("type missing", lambda: token({"typ": MISSING})),
    Row("exp missing", lambda: token(exp=MISSING)),
    Row("exp past", lambda: token(exp=NOW - 1)),
    Row("exp now", lambda: token(exp=NOW)),
    Row("exp a string", lambda: token(exp=str(NOW + 60))),
    Row("exp not a number", lambda: with_text(f'"exp": {NOW + 60}', '"exp": NaN')),
    Row("exp too large for a number", lambda: with_text(f'"exp": {NOW + 60}', '"exp": null')),
    Row("exp negative", lambda: token(exp=-1)),
    Row("nbf in the future", lambda: token(nbf=NOW + 30)),
    Row("nbf a string", lambda: token(nbf="0")),
    Row("iat in the future", lambda: token(iat=NOW + 30)),
    Row("issuer unknown", lambda: token(iss="https://evil.example")),
    Row("issuer with a slash more", lambda: token(iss=OURS + "/")),
    Row("issuer missing", lambda: token(iss=MISSING)),
    Row("issuer a list", lambda: token(iss=[OURS])),
    Row("issuer without keys yet", lambda: token(iss="https://silent.example"), "unavailable"),
    Row("audience of another", lambda: token(aud="other")),
    Row("audience missing", lambda: token(aud=MISSING)),
    Row("audience in a list of others", lambda: token(aud=["other", "ai102x"])),
    Row("audience an object", lambda: token(aud={"ai102": True})),
    Row("audience of the foreign issuer", lambda: token(aud="judge")),
    Row("sub missing", lambda: token(sub=MISSING)),
    Row("sub empty", lambda: token(sub="")),
    Row("sub a number", lambda: token(sub=5)),
    Row("sub with a line break", lambda: token(sub="ann\r\nX-Admin: 1")),
    Row("sub with a NUL", lambda: token(sub="ann\0")),
    Row("sub not ASCII", lambda: token(sub="anñ")),
    Row("sub too long", lambda: token(sub="a" * 256)),
    Row("jti missing from ours", lambda: token(jti=MISSING)),
    Row("jti missing from a foreign one", lambda: foreign(jti=MISSING), TAKEN),
    Row("jti a list", lambda: token(jti=["j"])),
    Row("jti revoked", lambda: token(jti="gone")),
    Row("session revoked", lambda: token(sid="left")),
    Row("subject revoked", lambda: token(sub="eve", iat=NOW - 60)),
    Row("subject revoked, token without iat", lambda: token(sub="eve", iat=MISSING)),
    Row("subject revoked, token of after", lambda: token(sub="eve", iat=NOW - 10), "eve"),
    Row("claim twice", lambda: with_text('"sub": "ann"', '"sub": "ann", "sub": "root"')),
    Row("claim twice, once escaped", lambda: with_text('"sub": "ann"', '"sub": "ann", "s\\u0075b": "root"')),
    Row("claim twice, once null", lambda: with_text('"sub": "ann"', '"sub": null, "sub": "ann"')),
    Row("header twice", lambda: with_text('"alg": "RS256"', '"alg": "RS256", "alg": "none"', "header")),
    Row("something after the claims", lambda: signed(part(HEADER), part(json.dumps(CLAIMS) + "x"))),
    Row("claims a list", lambda: signed(part(HEADER), part("[]"))),
    Row("claims null", lambda: signed(part(HEADER), part("null"))),
    Row("claims deep", lambda: signed(part(HEADER), part("[" * 1000 + "]" * 1000))),
    Row("header not JSON", lambda: signed(part("{"), part(CLAIMS))),
    Row("sub not UTF-8", lambda: signed(part(HEADER), part(json.dumps(CLAIMS).encode().replace(b"ann", b"\xff")))),
    Row("altered header", lambda: altered(10)),
    Row("altered claims", lambda: altered(80)),
    Row("altered signature", lambda: altered(-40)),
    Row("another end of the signature", lambda: with_unused_bits(token())),
    Row("signature missing", lambda: token().rpartition(".")[0] + "."),
    Row("two parts", lambda: token().rpartition(".")[0]),
    Row("four parts", lambda: token() + ".x"),
    Row("five parts, as JWE", lambda: token() + ".x.y"),
    Row("padding", lambda: token() + "=="),
    Row("plain base64", lambda: token().replace("-", "+").replace("_", "/") + "+"),
    Row("truncated", lambda: token()[:-9]),
    Row("oversized", lambda: token(padding="x" * 9000)),
    Row("a line break at the end", lambda: token() + "\n"),
    Row("two tokens", lambda: token() + ", Bearer " + token()),
    Row("empty", lambda: ""),
    Row("dots", lambda: ".."),
]  # fmt: skip


@in_both_luas
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.what)
def test_a_token_is_taken_only_when_all_of_it_is_right(lua: str, row: Row, journals: Path) -> None:
    judge = opened(lua, journals)
    answer = judge.ask("authenticate", f"Bearer {row.token()}", NOW)
    assert (answer["sub"] if isinstance(answer, dict) else answer) == row.expected, judge.reason


@in_both_luas
@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "{token}", "Bearer\t{token}", "Token {token}"]
)
def test_only_a_bearer_token_is_a_token(lua: str, header: str | None, journals: Path) -> None:
    judge = opened(lua, journals)
    assert judge.ask("authenticate", header and header.format(token=token()), NOW) == REFUSED


@in_both_luas
def test_a_token_seen_before_still_expires_and_can_be_revoked(lua: str, journals: Path) -> None:
    judge = opened(lua, journals)
    sent = f"Bearer {token(sid=lua)}"
    assert [judge.ask("authenticate", sent, NOW)["sub"] for _ in range(2)] == ["ann", "ann"]
    assert judge.ask("authenticate", sent, NOW + 61) == REFUSED
    with (journals / JOURNAL).open("a") as journal:
        journal.write(f"sid {NOW + 60} 0 {lua}\n")
    assert judge.ask("authenticate", sent, NOW)["sub"] == "ann"
    judge.ask("read_revocations", str(journals))
    assert (judge.ask("authenticate", sent, NOW), judge.reason) == (REFUSED, "revoked")


@in_both_luas
def test_a_grant_that_is_taken_out_of_the_policy_is_gone_for_tokens_already_given(lua: str, journals: Path) -> None:
    judge = opened(lua, journals)
    sent = f"Bearer {token()}"
    seen = [judge.ask("authenticate", sent, NOW)["grants"]]
    for grants in ([], [GRANT, GRANT]):
        opened(lua, journals, STATE | {"role_grants": {"caller": grants}})
        seen.append(judge.ask("authenticate", sent, NOW)["grants"])
    assert seen == [1, 0, 2]


@in_both_luas
@pytest.mark.parametrize(
    ("claims", "count"),
    [
        ({"attributes": {"ward": "x-ray"}}, 2),
        ({"attributes": {"ward": "x-ray", "floor": "2"}}, 2),
        ({"attributes": {"ward": "X-ray"}}, 1),
        ({"attributes": {}}, 1),
        ({"attributes": MISSING}, 1),
        ({"attributes": ["ward"]}, 1),
        ({"attributes": "ward"}, 1),
        ({"attributes": {"ward": ["x-ray"]}}, 1),
        ({"roles": ["nobody"], "attributes": {"ward": "x-ray"}}, 0),
        ({"roles": MISSING, "grants": [GRANT]}, 0),
    ],
)
def test_a_grant_that_asks_for_an_attribute_is_for_those_whose_token_says_they_have_it(
    lua: str, claims: dict[str, Any], count: int, journals: Path
) -> None:
    state = STATE | {"role_grants": {"caller": [GRANT, GRANT | {"user": {"ward": "x-ray"}}]}}
    judge = opened(lua, journals, state)
    assert judge.ask("authenticate", f"Bearer {token(**claims)}", NOW)["grants"] == count
    sent = foreign(groups=["caller"], attributes={"ward": "x-ray"})
    assert judge.ask("authenticate", f"Bearer {sent}", NOW)["grants"] == 1


@in_both_luas
@pytest.mark.parametrize(
    ("groups", "count"),
    [
        (["ml"], 1), ("ml", 1), ("viewer ml", 3), (["viewer"], 2), (["nobody"], 0), ([], 0), (MISSING, 0),
        ({"ml": 1}, 0), ([["ml"], 5, None], 0), ("", 0),
    ],
)  # fmt: skip
def test_a_foreign_token_has_the_grants_of_its_roles_and_none_of_its_own(lua: str, groups: Any, count: int) -> None:
    judge = core(lua)
    judge.ask("load", json.dumps(STATE))
    sent = foreign(groups=groups, grants=[GRANT] * 9, roles=["viewer"])
    assert judge.ask("authenticate", f"Bearer {sent}", NOW)["grants"] == count


@in_both_luas
@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 2, "written": 1}',
        json.dumps(STATE | {"version": 1}),
        json.dumps(STATE | {"issuers": {"a": {}}}),
    ],
)
def test_without_a_state_nobody_can_come_in(lua: str, text: str) -> None:
    judge = core(lua)
    assert not judge.ask("load", text)["ok"]
    assert judge.ask("authenticate", f"Bearer {token()}", NOW) == "unavailable"
