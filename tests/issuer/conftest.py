"""An issuer over a small policy with cheap hashes, and a real server of it on a free port."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ai102.host.listen import url_of
from ai102.issuer import administer, private
from ai102.issuer.audit import Origin
from ai102.issuer.issuer import Issuer
from ai102.issuer.keys import Keys
from ai102.issuer.rights import Rights
from ai102.issuer.serve import listening, server_for
from ai102.issuer.settings import HashCost, Settings

POLICY = """
[[triton.replicas]]
name = "a"
http = "127.0.0.1:18000"
grpc = "127.0.0.1:18001"

[services]
issuer = "127.0.0.1:8091"

[[issuers]]
issuer = "https://elsewhere.example"
audience = "other"
jwks = "https://elsewhere.example/jwks"

[[issuers]]
issuer = "https://ai102.example"
audience = "ai102"
jwks = "http://127.0.0.1:8091/.well-known/jwks.json"
revoked = "http://127.0.0.1:8091/auth/revoked"

[roles.viewer]
[roles.caller]
includes = ["viewer"]
[roles.operator]
includes = ["caller"]

[[grants]]
role = "viewer"
verbs = ["describe"]
models = ["*"]

[[grants]]
role = "caller"
verbs = ["infer"]
models = ["classify_image"]
max_body_bytes = 1000

[[grants]]
role = "caller"
verbs = ["infer"]
models = ["xray"]
user = { department = "radiology" }

[[grants]]
role = "operator"
verbs = ["infer", "administer"]
models = ["*"]
networks = ["127.0.0.0/8"]
"""
START_S = 1_800_000_000.5
PASSWORD = "correct horse battery"
CHEAP = Settings(hash_cost=HashCost(passes=1, memory_kib=64, lanes=1), publish_ahead_s=0)
BY = Origin("command line", who="test")


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def move(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(POLICY, encoding="utf-8")
    return file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "auth"


@pytest.fixture
def told() -> list[str]:
    """What an issuer has logged."""
    return []


MakeIssuer = Callable[..., Issuer]


@pytest.fixture(scope="session")
def made_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys to copy: to find two primes takes longer than most tests."""
    return Keys(tmp_path_factory.mktemp("auth") / "keys", CHEAP, Clock(0)).folder


@pytest.fixture
def make_issuer(policy_file: Path, home: Path, told: list[str], made_keys: Path) -> Iterator[MakeIssuer]:
    """Issuers over one home, on a clock that stands still; alice, a caller, is there from the first on."""
    made: list[Issuer] = []
    shutil.copytree(made_keys, private.folder(home) / "keys")

    def make(clock: Clock | None = None, *, real_time: bool = False, **settings: object) -> Issuer:
        chosen = dataclasses.replace(CHEAP, **settings)  # type: ignore[arg-type]
        clock = clock or Clock(START_S)
        times = [] if real_time else [clock, clock.move]
        issuer = Issuer(home, Rights(policy_file, told.append), chosen, *times)
        if not made:
            administer.add(issuer, "alice", PASSWORD, ["caller"], {}, BY)
        made.append(issuer)
        return issuer

    yield make
    for issuer in made:
        issuer.database.close()


@contextmanager
def serving(issuer: Issuer) -> Iterator[httpx.Client]:
    """A client of a real server of `issuer`, in a thread of this process."""
    is_ready = threading.Event()
    listener = listening("127.0.0.1:0")
    server = server_for(issuer, is_ready.set)
    thread = threading.Thread(target=server.run, args=[[listener]])
    thread.start()
    try:
        assert is_ready.wait(20)
        with httpx.Client(base_url=url_of(listener), timeout=20, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def log_in(client: httpx.Client, name: str = "alice", password: str = PASSWORD, **more: str) -> httpx.Response:
    form = {"grant_type": "password", "username": name, "password": password, **more}
    return client.post("/auth/token", data=form)


def refresh(client: httpx.Client, token: str, **more: str) -> httpx.Response:
    return client.post("/auth/token", data={"grant_type": "refresh_token", "refresh_token": token, **more})
