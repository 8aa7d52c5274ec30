"""The issuer over HTTP: a real uvicorn on a free port, asked as clients and attackers would."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from ai102.issuer import administer, revoke
from ai102.issuer.app import app_for
from ai102.issuer.audit import Origin
from ai102.issuer.issuer import Issuer, Login
from ai102.issuer.keys import Keys
from ai102.issuer.settings import HashCost, Lockout

from .bad_requests import BAD, FORM
from .conftest import BY, PASSWORD, MakeIssuer, log_in, refresh, serving

pytestmark = pytest.mark.e2e


@pytest.fixture
def issuer(make_issuer: MakeIssuer) -> Issuer:
    return make_issuer(real_time=True)


@pytest.fixture
def client(issuer: Issuer) -> Iterator[httpx.Client]:
    with serving(issuer) as client:
        yield client


def test_a_login_gives_what_rfc_6749_asks_for_and_nothing_keeps_it(client: httpx.Client) -> None:
    answer = log_in(client)
    found = (answer.status_code, answer.headers["cache-control"], sorted(answer.json()))
    assert found == (200, "no-store", ["access_token", "expires_in", "refresh_token", "scope", "token_type"])


def test_a_token_verifies_with_what_the_discovery_document_points_to(client: httpx.Client) -> None:
    token = log_in(client).json()["access_token"]
    document = client.get("/.well-known/openid-configuration").json()
    path = document["jwks_uri"].removeprefix("https://ai102.example")
    key = jwt.PyJWKClient(str(client.base_url).rstrip("/") + path).get_signing_key_from_jwt(token)
    said = jwt.decode(token, key, algorithms=["RS256"], audience="ai102", issuer=document["issuer"])
    assert (said["sub"], jwt.get_unverified_header(token)["typ"]) == ("alice", "at+jwt")


def test_a_caller_is_told_about_itself(client: httpx.Client) -> None:
    token = log_in(client).json()["access_token"]
    said = client.get("/auth/me", headers={"Authorization": f"Bearer {token}"}).json()
    grants = [
        {"verbs": ["describe"], "models": ["*"]},
        {"verbs": ["infer"], "models": ["classify_image"], "max_body_bytes": 1000},
    ]
    assert 7100 < said.pop("expires") - time.time() <= 7200
    assert said == {"name": "alice", "roles": ["caller"], "grants": grants}


def test_the_jwks_is_cached_by_its_tag_until_the_keys_change(client: httpx.Client, issuer: Issuer) -> None:
    first = client.get("/.well-known/jwks.json")
    tag = {"If-None-Match": first.headers["etag"]}
    same = client.get("/.well-known/jwks.json", headers=tag)
    kid = Keys(issuer.keys.folder, issuer.settings).rotate().kid  # as another process would
    changed = client.get("/.well-known/jwks.json", headers=tag)
    token = log_in(client).json()["access_token"]
    assert (same.status_code, same.content, first.headers["cache-control"]) == (304, b"", "public, max-age=0")
    assert (changed.json()["keys"][1]["kid"], jwt.get_unverified_header(token)["kid"]) == (kid, kid)


def test_bad_requests_are_refused_in_one_sentence_that_nothing_keeps(client: httpx.Client) -> None:
    wanted, found = {}, {}
    for name, (method, path, headers, body, status, error) in BAD.items():
        answer = client.request(method, path, headers=headers, content=body)
        said = answer.json()
        sentences = said["error_description"].count(".")
        found[name] = (answer.status_code, said["error"], sorted(said), sentences, answer.headers["cache-control"])
        wanted[name] = (status, error, ["error", "error_description"], 1, "no-store")
    assert found == wanted


def test_an_unknown_user_and_a_wrong_password_get_the_same_bytes(client: httpx.Client) -> None:
    answers = [log_in(client, name, "wrong") for name in ("alice", "bob")]
    parts = [(answer.status_code, answer.content, dict(answer.headers) | {"date": ""}) for answer in answers]
    assert parts[0] == parts[1]


def test_an_unknown_user_takes_as_long_as_a_wrong_password(make_issuer: MakeIssuer) -> None:
    cost = HashCost(passes=3, memory_kib=16 << 10, lanes=1)  # so that the hash is most of it
    issuer = make_issuer(real_time=True, hash_cost=cost, lockout_of_user=Lockout(free=1000))
    administer.set_password(issuer, "alice", PASSWORD, BY)
    with serving(issuer) as client:
        times: dict[str, list[float]] = {"alice": [], "bob": []}
        for _ in range(9):
            for name, seen in times.items():
                start = time.perf_counter()
                log_in(client, name, "wrong")
                seen.append(time.perf_counter() - start)
    known, unknown = (statistics.median(seen) for seen in times.values())
    assert 0.5 < unknown / known < 2  # without a hash it is a tenth


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def forged(token: str, header: dict[str, Any], sign: Callable[[bytes], bytes], **claims: Any) -> str:
    body = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")) | claims
    content = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(body).encode())}"
    return f"{content}.{b64(sign(content.encode()))}"


def test_only_a_good_token_of_this_issuer_names_a_caller(client: httpx.Client, issuer: Issuer) -> None:
    token = log_in(client).json()["access_token"]
    key = issuer.keys.signing()
    pem = key.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    good = jwt.decode(token, options={"verify_signature": False})
    head = {"alg": "RS256", "typ": "at+jwt", "kid": key.kid}
    revoke.end_token(issuer, revoked := log_in(client).json()["access_token"], BY)

    def made(header: dict[str, Any] | None = None, **claims: Any) -> str:
        said = {name: value for name, value in (good | claims).items() if value is not None}
        return jwt.encode(said, key.private, algorithm="RS256", headers=head | (header or {}))

    tokens = {
        "good": token,
        "made as ours": made(),
        "cut": token[:-8],
        "altered": token[:-8] + "AAAAAAAA",
        "none": forged(token, {**head, "alg": "none"}, lambda content: b""),
        "public key as secret": forged(
            token, {**head, "alg": "HS256"}, lambda content: hmac.new(pem, content, hashlib.sha256).digest()
        ),
        "audience": made(aud="other"),
        "issuer": made(iss="https://elsewhere.example"),
        "expired": made(exp=int(time.time()) - 1),
        "not yet": made(nbf=int(time.time()) + 100),
        "no exp": made(exp=None),
        "no sid": made(sid=None),
        "another type": made({"typ": "JWT"}),
        "unknown kid": made({"kid": "other"}),
        "kid with a path": made({"kid": "../keys/" + key.kid}),
        "revoked": revoked,
        "garbage": "a.b.c",
    }
    found = {
        name: client.get("/auth/me", headers={"Authorization": f"Bearer {one}"}).status_code
        for name, one in tokens.items()
    }
    assert found == dict.fromkeys(tokens, 401) | {"good": 200, "made as ours": 200}


def test_revoking_is_always_answered_and_ends_what_it_names(client: httpx.Client) -> None:
    pairs = [log_in(client).json() for _ in range(3)]
    dying = [pairs[0]["access_token"], pairs[1]["refresh_token"], "no token at all", pairs[0]["access_token"]]
    answers = [client.post("/auth/revoke", data={"token": token, "token_type_hint": "x"}) for token in dying]

    def works(pair: dict[str, str]) -> tuple[int, int]:
        me = client.get("/auth/me", headers={"Authorization": f"Bearer {pair['access_token']}"})
        return me.status_code, refresh(client, pair["refresh_token"]).status_code

    claims = [jwt.decode(pair["access_token"], options={"verify_signature": False}) for pair in pairs]
    listed = client.get("/auth/revoked").json()
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [works(pair) for pair in pairs] == [(401, 400), (401, 400), (200, 200)]
    assert [row[:2] for row in listed["revoked"]] == [["sid", claims[0]["sid"]], ["sid", claims[1]["sid"]]]
    later = client.get("/auth/revoked", params={"after": listed["next"]}).json()
    assert (later["feed"], later["revoked"], later["more"]) == (listed["feed"], [], False)
    assert client.get("/auth/revoked", params={"after": "-1"}).status_code == 400


def test_guessing_is_answered_with_429_and_when_to_come_back(make_issuer: MakeIssuer) -> None:
    with serving(make_issuer(real_time=True, lockout_of_user=Lockout(free=2, first_s=60))) as client:
        answers = [log_in(client, password="wrong") for _ in range(4)]
    found = [(answer.status_code, answer.headers.get("retry-after")) for answer in answers]
    assert found[:3] == [(400, None)] * 3
    assert found[3] in [(429, "60"), (429, "59")]


def test_spoilt_keys_are_told_and_it_serves_again_when_they_are_put_right(client: httpx.Client, issuer: Issuer) -> None:
    index = issuer.keys.folder / "keys.json"
    good = index.read_bytes()
    statuses = []
    for content in (b"{", good):
        index.write_bytes(content)
        statuses += [client.get("/.well-known/jwks.json").status_code, log_in(client).status_code]
    assert (statuses, log_in(client, "bob").status_code) == ([503, 503, 200, 200], 400)


def test_answers_are_not_held_back(client: httpx.Client) -> None:
    times = []
    for _ in range(20):
        start = time.perf_counter()
        client.get("/.well-known/jwks.json")
        times.append(time.perf_counter() - start)
    assert statistics.median(times) < 0.03  # 0.044 with Nagle's algorithm and delayed acknowledgements


# What the peer on loopback forwards, and the address that is believed.
FORWARDED: list[tuple[list[str], str]] = [
    ([], "127.0.0.1"),
    (["192.0.2.1"], "192.0.2.1"),
    (["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
    (["203.0.113.9", "192.0.2.1"], "192.0.2.1"),
    (["2001:db8::1"], "2001:db8::1"),
    (["nonsense"], "127.0.0.1"),
    ([""], "127.0.0.1"),
]


@pytest.mark.parametrize("is_trusted", [True, False])
def test_the_address_is_the_last_one_a_trusted_proxy_saw(make_issuer: MakeIssuer, is_trusted: bool) -> None:
    issuer = make_issuer(real_time=True, **({} if is_trusted else {"proxies": ()}))
    form = {"grant_type": "password", "username": "alice", "password": PASSWORD}
    with serving(issuer) as client:
        for values, _ in FORWARDED:
            client.post("/auth/token", data=form, headers=[("X-Forwarded-For", value) for value in values])
    with issuer.database.reading() as connection:
        found = [row[0] for row in connection.execute("SELECT address FROM audit WHERE what = 'login' ORDER BY id")]
    assert found == [address if is_trusted else "127.0.0.1" for _, address in FORWARDED]


def test_a_body_that_does_not_come_is_given_up(make_issuer: MakeIssuer) -> None:
    with serving(make_issuer(real_time=True, body_timeout_s=0.2)) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as slow:
            head = f"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
            slow.sendall(f"{head}Content-Length: 100\r\n\r\ngrant".encode())
            status = slow.recv(4096).split(b"\r\n")[0]
        assert (status.split()[1], log_in(client).status_code) == (b"408", 200)


def test_a_body_without_a_length_is_cut_at_the_limit(client: httpx.Client) -> None:
    answer = client.post("/auth/token", headers=FORM, content=iter([b"a=" + b"x" * 9000] * 3))
    assert answer.status_code == 413


async def flood(client: httpx.AsyncClient, count: int, seen: Callable[[int], object]) -> None:
    """So many logins at once, each under a name of its own."""

    async def one(number: int) -> None:
        form = {"grant_type": "password", "username": f"nobody{number}", "password": "wrong"}
        seen((await client.post("/auth/token", data=form)).status_code)

    await asyncio.gather(*(one(number) for number in range(count)))


def test_of_a_thousand_logins_at_once_those_beyond_the_places_are_refused_before_anything_is_done(
    make_issuer: MakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, count = 8, 1000
    issuer = make_issuer(hashes_waiting=places, lockout_of_address=Lockout(free=10 * count))
    begun: list[str] = []
    hashed: list[str] = []
    statuses: Counter[int] = Counter()
    others_are_answered = threading.Event()
    begin_login, is_right = issuer.begin_login, issuer.is_right

    def watched_begin(name: str, origin: Origin) -> Login:
        begun.append(name)
        return begin_login(name, origin)

    def watched_hash(login: Login, password: str) -> bool:
        if not others_are_answered.wait(20):  # until then whoever has a place keeps it
            others_are_answered.set()
        hashed.append(password)
        return is_right(login, password)

    def seen(status: int) -> None:
        statuses[status] += 1
        if statuses[503] == count - places:
            others_are_answered.set()

    async def run() -> None:
        transport = httpx.ASGITransport(app_for(issuer))
        async with httpx.AsyncClient(transport=transport, base_url="http://issuer") as client:
            await flood(client, count, seen)

    monkeypatch.setattr(issuer, "begin_login", watched_begin)
    monkeypatch.setattr(issuer, "is_right", watched_hash)
    asyncio.run(run())
    assert (statuses, len(begun), len(hashed)) == ({400: places, 503: count - places}, places, places)


def test_gateways_hear_of_revocations_while_all_places_for_logins_are_taken(
    make_issuer: MakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = make_issuer(lockout_of_address=Lockout(free=1000))
    is_over = threading.Event()
    begin_login = issuer.begin_login

    def held_up(name: str, origin: Origin) -> Login:
        is_over.wait(30)  # as by a disk that is slow
        return begin_login(name, origin)

    async def run() -> tuple[int, float]:
        transport = httpx.ASGITransport(app_for(issuer))
        async with httpx.AsyncClient(transport=transport, base_url="http://issuer") as client:
            logins = asyncio.ensure_future(flood(client, 200, lambda _: None))
            await asyncio.sleep(0)
            began = time.monotonic()
            try:
                answer = await client.get("/auth/revoked", timeout=None)
            finally:
                is_over.set()
            took_s = time.monotonic() - began
            await logins
            return answer.status_code, took_s

    monkeypatch.setattr(issuer, "begin_login", held_up)
    status, took_s = asyncio.run(run())
    assert status == 200
    assert took_s < 15  # held up like the logins it takes 30 s


def test_a_flood_of_logins_leaves_the_keys_reachable_and_is_told_to_wait(
    make_issuer: MakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = Lockout(free=10_000)
    issuer = make_issuer(real_time=True, hash_cost=HashCost(), hashes_waiting=8, lockout_of_address=many)
    at_work: list[str] = []
    at_most: list[int] = []
    hash_one = issuer.is_right

    def watched(login: Login, password: str) -> bool:
        at_work.append("one")
        at_most.append(len(at_work))
        try:
            return hash_one(login, password)
        finally:
            at_work.pop()

    monkeypatch.setattr(issuer, "is_right", watched)
    with serving(issuer) as client:
        is_over = threading.Event()
        statuses: list[tuple[int, str | None]] = []

        def flood(number: int) -> None:
            with httpx.Client(base_url=client.base_url, timeout=60, trust_env=False) as mine:
                while not is_over.is_set():
                    answer = log_in(mine, f"nobody{number}-{len(statuses)}")
                    statuses.append((answer.status_code, answer.headers.get("retry-after")))

        threads = [threading.Thread(target=flood, args=[number]) for number in range(24)]
        for thread in threads:
            thread.start()
        times = []
        try:
            while len(times) < 20 or len(set(statuses)) < 2:
                start = time.perf_counter()
                assert client.get("/.well-known/jwks.json").status_code == 200
                times.append(time.perf_counter() - start)
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
    assert set(statuses) == {(400, None), (503, "1")}
    assert statistics.median(times) < 0.5
    assert max(at_most) <= max(1, (os.cpu_count() or 2) // 2)
