"""state.json: what an issuer publishes is read with suspicion, and what it said last holds while it is silent."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from ai102.contract import Contract, load
from ai102.gateway.feed import issuers
from ai102.gateway.feed.issuers import Known
from ai102.gateway.feed.jwks import keys_from_jwks, revoked_page_from
from ai102.gateway.feed.state import state_from, sync
from ai102.gateway.feed.writer import Writer
from ai102.gateway.policy import Gateway
from ai102.gateway.revocations import Journal
from tests.gateway.judge_core import core, in_both_luas

OURS, FOREIGN = "https://ai102.example", "https://login.example"


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load(Path(__file__).parents[2] / "models.toml")


def rsa_jwk(bits: int = 2048, **changes: Any) -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key()
    return RSAAlgorithm.to_jwk(key, as_dict=True) | {"kid": "r", "use": "sig", "alg": "RS256"} | changes


def ec_jwk(curve: ec.EllipticCurve, **changes: Any) -> dict[str, Any]:
    return ECAlgorithm.to_jwk(ec.generate_private_key(curve).public_key(), as_dict=True) | {"kid": "e"} | changes


GOOD = rsa_jwk()
JWKS = {"keys": [GOOD]}
NOTHING: dict[str, Any] = {"feed": "f", "next": 0, "more": False, "revoked": []}
GONE = ["jti", "gone", 1 << 40, 0]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("rows", "kids", "reason"),
    [
        ([GOOD], ["r"], ""),
        ([ec_jwk(ec.SECP256R1())], ["e"], ""),
        ([without("use"), ec_jwk(ec.SECP256R1(), alg="ES256", key_ops=["verify"])], ["r", "e"], ""),
        ([without("kid")], [], "key 0: no kid"),
        ([GOOD | {"kid": 5}], [], "no kid"),
        ([GOOD | {"kid": "a\nb"}], [], "no kid"),
        ([GOOD, rsa_jwk()], ["r"], "key 1: its kid is another key's too"),
        ([GOOD | {"use": "enc"}], [], "not for signatures"),
        ([GOOD | {"key_ops": ["encrypt"]}], [], "not for signatures"),
        ([GOOD | {"alg": "PS256"}], [], "neither RS256 nor ES256"),
        ([GOOD | {"alg": "HS256"}], [], "neither RS256 nor ES256"),
        ([{"kty": "oct", "k": "c2VjcmV0", "kid": "o"}], [], "neither RS256 nor ES256"),
        ([GOOD | {"kty": ["RSA"]}], [], "neither RS256 nor ES256"),
        ([rsa_jwk(1024)], [], "an RSA key of 1024 bits"),
        ([GOOD | {"e": "Aw"}], [], "unusual exponent"),
        ([GOOD | {"n": "!!"}], [], "key 0"),
        ([GOOD | {"n": 5}], [], "not readable"),
        ([without("n")], [], "not readable"),
        ([GOOD | {"d": "AQAB"}], [], "a private key, published"),
        ([ec_jwk(ec.SECP384R1())], [], "not on the curve P-256"),
        ([ec_jwk(ec.SECP256R1()) | {"x": "AAAA"}], [], "not readable"),
        ([5, None, "x", []], [], "no object"),
        ([GOOD | {"kid": f"k{number}"} for number in range(20)], [f"k{n}" for n in range(16)], "more than 16 keys"),
    ],
)
def test_a_key_is_taken_when_it_signs_and_is_strong(rows: list[Any], kids: list[str], reason: str) -> None:
    keys, left_out = keys_from_jwks(json.dumps({"keys": rows}).encode())
    assert list(keys) == kids
    assert reason in "; ".join(left_out)


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 100_000])
def test_what_is_no_key_set_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        keys_from_jwks(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"feed": 5}, {"next": "1"}, {"next": -1}, {"next": True}, {"more": 0}, {"revoked": {}}, {"revoked": [5]},
        {"revoked": [["aud", "a", 1, 0]]}, {"revoked": [["sid", 5, 1, 0]]}, {"revoked": [["sid", "a", "1", 0]]},
        {"revoked": [["sid", "a", 1]]}, {"revoked": [["sid", "a", 1.5, 0]]}, {"revoked": [["sid", "a", 1, None]]},
    ],
)  # fmt: skip
def test_what_is_no_page_of_revocations_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        revoked_page_from(json.dumps(NOTHING | changes).encode())


def test_a_value_that_no_token_can_carry_is_left_out_of_a_page() -> None:
    values = ["a", "", "a b", "a\n", "a" * 256, "ä", "b"]
    page = revoked_page_from(json.dumps(NOTHING | {"revoked": [["sid", value, 1, 0] for value in values]}).encode())
    assert [one.value for one in page.revocations] == ["a", "b"]


class StandIn:
    """An issuer that says what it is told to; `asked` counts the questions by path."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"/jwks": JWKS, "/revoked": NOTHING}
        self.status = 200
        self.asked: dict[str, int] = {}
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand_in.asked[self.path] = stand_in.asked.get(self.path, 0) + 1
                path, _, query = self.path.partition("?")
                answer = stand_in.answers.get(self.path, stand_in.answers.get(path))
                if callable(answer):
                    answer = answer(int(query.removeprefix("after=")))
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                etag = f'"{hash(body)}"'
                is_known = self.headers.get("If-None-Match") == etag and stand_in.status == 200
                self.send_response(304 if is_known else stand_in.status)
                self.send_header("ETag", etag)
                self.send_header("Content-Length", "0" if is_known else str(len(body)))
                self.end_headers()
                if not is_known:
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def issuer() -> Iterator[StandIn]:
    stand_in = StandIn()
    yield stand_in
    with contextlib.suppress(OSError):
        stand_in.close()


def gateway(stand_in: StandIn, **changes: Any) -> Gateway:
    return Gateway.model_validate(gateway_table(stand_in.url, **changes))


def gateway_table(url: str, **changes: Any) -> dict[str, Any]:
    ours = {"issuer": OURS, "audience": "ai102", "jwks": f"{url}/jwks", "revoked": f"{url}/revoked"}
    return {
        "triton": {"replicas": [{"name": "a", "http": "127.0.0.1:1", "grpc": "127.0.0.1:2"}]},
        "issuers": [ours | changes],
        "roles": {"viewer": {}},
        "grants": [{"role": "viewer", "verbs": ["describe"], "models": ["*"]}],
    }


class Synced:
    """A sync that runs beside the test."""

    def __init__(self, policy: Gateway, contract: Contract, path: Path) -> None:
        self.path, self.log = path, list[str]()
        self.stop, self.fetch_now = threading.Event(), threading.Event()
        options: dict[str, Any] = {"stop": self.stop, "log": self.log.append, "fetch_now": self.fetch_now}
        self.thread = threading.Thread(target=sync, args=(policy, contract, path), kwargs=options)

    def __enter__(self) -> "Synced":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()

    @property
    def revoked(self) -> list[str]:
        """The values in the journal that the state names."""
        name = self.ours.get("revoked")
        lines = (self.path.parent / "revoked" / name).read_text().splitlines() if name else []
        return [line.split()[3] for line in lines]

    @property
    def ours(self) -> dict[str, Any]:
        return dict(json.loads(self.path.read_text())["issuers"][OURS]) if self.path.exists() else {}

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 8
        while not holds():
            assert time.monotonic() < deadline, f"not within 8 s: {what}; log: {self.log}"
            time.sleep(0.02)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai102.gateway.feed.state.LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(issuers, "OURS_EVERY_S", 0.05)


def test_keys_and_revocations_come_and_stay_when_the_issuer_goes(
    issuer: StandIn, contract: Contract, tmp_path: Path
) -> None:
    with Synced(gateway(issuer), contract, tmp_path / "state.json") as synced:
        synced.until(lambda: "r" in synced.ours.get("keys", {}), "the key")
        issuer.answers["/revoked"] = NOTHING | {"next": 1, "revoked": [GONE]}
        synced.until(lambda: synced.revoked == ["gone"], "the revocation")
        issuer.close()
        synced.until(lambda: any("stays in force" in line for line in synced.log), "a word about it")
        assert (list(synced.ours["keys"]), synced.revoked) == (["r"], ["gone"])
    told = len(synced.log)
    with Synced(gateway(issuer), contract, tmp_path / "state.json") as again:
        again.until(lambda: bool(again.log), "a word after the restart")
        assert (list(again.ours["keys"]), again.revoked) == (["r"], ["gone"])
    assert told <= 4, "it repeats itself"


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/revoked", b"[]", "no JSON object"), ("/jwks", b"<html>", "JSONDecodeError"),
        ("/jwks", b"x" * 300_000, "more than 262144 bytes"), ("/revoked", {"jti": 5}, "no page of revocations"),
    ],
)  # fmt: skip
def test_a_broken_answer_changes_nothing(
    issuer: StandIn, contract: Contract, tmp_path: Path, path: str, answer: Any, words: str
) -> None:
    with Synced(gateway(issuer), contract, tmp_path / "state.json") as synced:
        synced.until(lambda: "r" in synced.ours.get("keys", {}), "the key")
        issuer.answers[path] = answer
        synced.until(lambda: any(words in line for line in synced.log), words)
        assert list(synced.ours["keys"]) == ["r"]


def test_an_error_of_the_issuers_changes_nothing(issuer: StandIn, contract: Contract, tmp_path: Path) -> None:
    with Synced(gateway(issuer), contract, tmp_path / "state.json") as synced:
        synced.until(lambda: "r" in synced.ours.get("keys", {}), "the key")
        issuer.status, issuer.answers["/jwks"] = 500, {"keys": []}
        synced.until(lambda: any("status 500" in line for line in synced.log), "a word about it")
        assert list(synced.ours["keys"]) == ["r"]
        issuer.status, issuer.answers["/jwks"] = 200, {"keys": [GOOD | {"kid": "new"}]}
        synced.until(lambda: list(synced.ours["keys"]) == ["new"], "the new key, and the old one gone")
        synced.until(lambda: any("well again" in line for line in synced.log), "a word about it")


def test_keys_without_the_revocations_that_go_with_them_open_nothing(
    issuer: StandIn, contract: Contract, tmp_path: Path
) -> None:
    issuer.answers["/revoked"] = b"?"
    with Synced(gateway(issuer), contract, tmp_path / "state.json") as synced:
        synced.until(lambda: bool(synced.log), "a word about it")
        synced.until(lambda: synced.ours.get("keys") == {}, "a state")
        issuer.answers["/revoked"] = NOTHING
        synced.until(lambda: "r" in synced.ours["keys"], "the key")


def test_keys_of_another_address_are_forgotten(issuer: StandIn, contract: Contract, tmp_path: Path) -> None:
    known = Known({"old": {"alg": "RS256", "pem": "x"}}, "known.1.log", 5)
    state = state_from(gateway(issuer), contract, {OURS: known}, 6)
    Journal(tmp_path / "revoked", gateway(issuer).issuers[0]).add([])
    (tmp_path / "state.json").write_text(json.dumps(state))
    issuer.status = 500
    with Synced(gateway(issuer), contract, tmp_path / "state.json") as synced:
        synced.until(lambda: bool(synced.log), "a word")
        assert list(synced.ours["keys"]) == ["old"]
    elsewhere = gateway(issuer, jwks=f"{issuer.url}/jwks?2")
    issuer.answers["/jwks?2"] = JWKS
    with Synced(elsewhere, contract, tmp_path / "state.json") as synced:
        synced.until(lambda: synced.ours["keys"] == {}, "the old key gone")


def test_a_foreign_issuer_is_asked_seldom_and_at_once_when_told(
    issuer: StandIn, contract: Contract, tmp_path: Path
) -> None:
    foreign = gateway(issuer, issuer=FOREIGN, revoked="")
    with Synced(foreign, contract, tmp_path / "state.json") as synced:
        synced.until(lambda: issuer.asked == {"/jwks": 1}, "one question")
        synced.fetch_now.set()
        synced.until(lambda: issuer.asked == {"/jwks": 2}, "another")

        def row() -> dict[str, Any]:
            return dict(json.loads(synced.path.read_text())["issuers"][FOREIGN])

        synced.until(lambda: list(row()["keys"]) == ["r"], "the key")
        assert (row()["is_ours"], issuer.asked) == (False, {"/jwks": 2})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9}', '{"version": 2, "issuers": 5}', '{"version": 2}'])
def test_a_broken_file_is_written_anew(issuer: StandIn, contract: Contract, tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)

    def has_key() -> bool:
        return "r" in synced.ours["keys"]

    with Synced(gateway(issuer), contract, tmp_path / "state.json") as synced:
        synced.until(lambda: synced.path.read_text() != text, "a new file")
        synced.until(has_key, "the key")


class Pages:
    """What an issuer has revoked, two on a page; `asked` is after which numbers it was asked."""

    def __init__(self, feed: str, *values: str) -> None:
        self.feed, self.values, self.asked = feed, list(values), list[int]()

    def __call__(self, after: int) -> dict[str, Any]:
        self.asked.append(after)
        rows = [["sid", value, 1 << 40, 0] for value in self.values[after : after + 2]]
        last = after + 2 if len(rows) == 2 else len(self.values)
        return {"feed": self.feed, "next": last, "more": len(rows) == 2, "revoked": rows}


def test_each_page_is_asked_for_once_and_all_again_of_another_database(
    issuer: StandIn, contract: Contract, tmp_path: Path
) -> None:
    issuer.answers["/revoked"] = pages = Pages("f", *"abcde")
    with Synced(gateway(issuer), contract, tmp_path / "state.json") as synced:
        synced.until(lambda: synced.revoked == list("abcde"), "all pages")
        pages.values += ["f"]
        synced.until(lambda: synced.revoked == list("abcdef"), "one more")
        assert pages.asked[:4] == [0, 2, 4, 5]
        assert 0 not in pages.asked[1:]
        for number, values in enumerate(["abcdefghi", "xy", "z"]):  # of another database; a copy of before; another
            issuer.answers["/revoked"] = other = Pages(f"g{number // 2}", *values)
            synced.until(lambda other=other, values=values: set(values) <= set(synced.revoked), values)  # type: ignore[misc]
            assert 0 in other.asked
    assert sorted(synced.revoked) == list("abcdefghixyz")


def test_an_issuer_that_has_not_told_all_pages_yet_opens_nothing(
    issuer: StandIn, contract: Contract, tmp_path: Path
) -> None:
    pages = Pages("f", *"abc")
    issuer.answers["/revoked"] = lambda after: pages(after) if after == 0 else []
    with Synced(gateway(issuer), contract, tmp_path / "state.json") as synced:
        synced.until(lambda: any("no JSON object" in line for line in synced.log), "a word about it")
        synced.until(lambda: synced.ours.get("keys") == {}, "a state")
        issuer.answers["/revoked"] = pages
        synced.until(lambda: "r" in synced.ours["keys"], "the key")
        assert synced.revoked == list("abc")


def test_a_new_policy_is_in_force_although_an_issuer_hangs(contract: Contract, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        policy = Gateway.model_validate(gateway_table(url))
        path = tmp_path / "state.json"
        writer = Writer(contract, path, lambda _: None)
        writer.follow(policy)
        began = time.monotonic()
        while not path.exists():
            assert time.monotonic() - began < 8
            time.sleep(0.01)
        connection, _ = silent.accept()
        connection.recv(100)  # its turn waits for the answer, which never comes
        began = time.monotonic()
        writer.follow(policy.model_copy(update={"grants": ()}))
        while json.loads(path.read_text())["role_grants"] != {"viewer": []}:
            assert time.monotonic() - began < 8
            time.sleep(0.01)
        took_s = time.monotonic() - began
        writer.stop()
        connection.close()
    assert took_s < 2  # it used to wait 3 s for the issuer


def test_a_defect_ends_the_sync(
    issuer: StandIn, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, *_: Any) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(issuers.Watch, "once", broken)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with pytest.raises(ZeroDivisionError):
        sync(gateway(issuer), contract, tmp_path / "state.json", stop=threading.Event(), log=print)


def test_routes_and_classes_are_those_of_the_contract(issuer: StandIn, contract: Contract) -> None:
    state = state_from(gateway(issuer), contract, {}, 6)
    assert state["routes"] == {"/v1/classify": "classify_image", "/v1/embed": "embed_text"}
    assert state["classes"]["score_image"] == ["scores"]
    assert "label" not in state["classes"].get("classify_image", [])


@in_both_luas
def test_the_gateway_takes_what_is_written(lua: str, issuer: StandIn, contract: Contract) -> None:
    keys, _ = keys_from_jwks(json.dumps({"keys": [GOOD, ec_jwk(ec.SECP256R1())]}).encode())
    state = state_from(gateway(issuer), contract, {OURS: Known(keys, "known.1.log", 5)}, 6)
    assert core(lua).ask("load", json.dumps(state)) == {"ok": True}
