"""All of it as its user starts it: replicas, issuer, API and gateway, each a command, each killed once."""

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ai102.samples.read import read_samples
from tests.gateway.access_log import rows
from tests.gateway.attackers import Target, called
from tests.gateway.conftest import needs, wait_until
from tests.issuer.stand_in_oidc import StandInProvider
from tests.ports import free_addresses

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.long]
ROOT = Path(__file__).parent.parent.parent
PASSWORD = "correct horse battery"
IMAGE = read_samples(ROOT / "calibration" / "sets", "digits", "test").items[3]
READY_S = 60.0
ENVIRONMENT = os.environ | {"PYTHONUNBUFFERED": "1"}


@contextmanager
def command(folder: Path, log: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`ai102 ...` as a process of its own, with all it starts, until the block ends."""
    with (folder / log).open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ai102", *words],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


def ai102(folder: Path, *words: str, typed: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ai102", *words], cwd=folder, input=typed, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class House:
    def __init__(self, folder: Path, provider: StandInProvider) -> None:
        self.folder, self.provider = folder, provider
        rest, grpc, status, self.metrics, http, triton, http2, triton2, self.api, self.issuer = free_addresses(10)
        self.rest, self.grpc = rest, grpc
        text = (ROOT / "gateway.toml").read_text(encoding="utf-8")
        head, _, tail = text.partition("[[triton.replicas]]")
        _, _, tail = tail.partition("[services]")
        text = head + "[[triton.replicas]]\nname = 'a'\nhttp = '18000'\ngrpc = '18001'\n"
        text += "[[triton.replicas]]\nname = 'b'\nhttp = '18010'\ngrpc = '18011'\n[services]" + tail
        for old, new in {
            "127.0.0.1:8080": rest, "127.0.0.1:8081": grpc, "127.0.0.1:8404": status, "127.0.0.1:8405": self.metrics,
            "127.0.0.1:8090": self.api, "127.0.0.1:8091": self.issuer, "'18000'": f"'{http}'",
            "'18001'": f"'{triton}'", "'18010'": f"'{http2}'", "'18011'": f"'{triton2}'",
        }.items():  # fmt: skip
            text = text.replace(old, new)
        text = text.replace(
            "[limits]",
            f'[[issuers]]\nissuer = "{provider.issuer}"\naudience = "{provider.audience}"\n'
            f'jwks = "{provider.jwks_url}"\n'
            'roles_claim = "groups"\nroles = { "ml-team" = "caller" }\n\n[limits]',
        )
        (folder / "gateway.toml").write_text(text, encoding="utf-8")
        (folder / "models.toml").write_bytes((ROOT / "models.toml").read_bytes())
        (folder / "masking.toml").write_bytes((ROOT / "masking.toml").read_bytes())
        ai102(folder, "gateway", "certs")
        ai102(folder, "auth", "user", "add", "ann", "--role", "caller", typed=f"{PASSWORD}\n")
        self.ca = folder / "build" / "gateway" / "certs" / "ca.pem"

    def ask(
        self, path: str, token: str = "", body: bytes | None = None, kind: str = "", request_id: str = ""
    ) -> tuple[int, Any]:
        """Status and JSON of the gateway's answer; 0 where nobody listens."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"X-Request-Id": request_id} if request_id else {}
        headers |= {"Content-Type": kind} if kind else {}
        port = self.rest.rpartition(":")[2]
        request = urllib.request.Request(f"https://localhost:{port}{path}", body, headers)
        try:
            with urllib.request.urlopen(
                request, timeout=20, context=ssl.create_default_context(cafile=str(self.ca))
            ) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as err:
            return err.code, json.loads(err.read() or b"null")
        except (urllib.error.URLError, ConnectionError):
            return 0, None

    def login(self, **more: str) -> Mapping[str, Any]:
        form = {"grant_type": "password", "username": "ann", "password": PASSWORD} | more
        status, answer = self.ask(
            "/auth/token", body=urllib.parse.urlencode(form).encode(), kind="application/x-www-form-urlencoded"
        )
        assert status == 200, answer
        return answer

    def classify(self, token: str) -> tuple[int, Any]:
        body = (
            b'--x\r\nContent-Disposition: form-data; name="images"; filename="d.png"\r\n\r\n' + IMAGE + b"\r\n--x--\r\n"
        )
        return self.ask("/v1/classify", token, body, "multipart/form-data; boundary=x")

    def described(self, token: str) -> int:
        return self.ask("/v2/models/score_image", token)[0]

    def inferred(self, token: str, model: str = "score_image") -> int:
        from tritonclient.grpc import service_pb2 as pb

        asked = pb.ModelInferRequest(model_name=model)
        asked.inputs.add(name="image", datatype="BYTES", shape=[1, 1])
        asked.raw_input_contents.append(len(IMAGE).to_bytes(4, "little") + IMAGE)
        target = Target(self.rest, self.grpc, self.ca, token)
        return called(target, "/inference.GRPCInferenceService/ModelInfer", asked.SerializeToString())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with StandInProvider() as provider, ExitStack() as started:
        house = House(folder, provider)
        models = [word for name in ("score_image", "classify_image", "embed_text") for word in ("--model", name)]
        repository = ("--repository", str(ROOT / "model_repository"))
        started.enter_context(command(folder, "serve.log", "serve", "--replicas", "2", *repository, *models))
        wait_until(lambda: "ready: 2 replicas" in (folder / "serve.log").read_text(), "replicas", READY_S)
        yield house


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")])
def gateway(request: pytest.FixtureRequest, house: House) -> Iterator[House]:
    folder = house.folder
    with ExitStack() as started:
        for log, *words in (
            ("auth.log", "auth", "serve"),
            ("api.log", "api", "serve"),
            ("gateway.log", "gateway", "run", "--proxy", request.param),
        ):
            started.enter_context(command(folder, log, *words))
        wait_until(lambda: house.described(ai102(folder, "auth", "token", "ann")) == 200, "gateway", READY_S)
        wait_until(lambda: house.classify(ai102(folder, "auth", "token", "ann"))[0] == 200, "API", READY_S)
        yield house


def test_who_logs_in_may_do_what_the_role_may_and_no_more(gateway: House) -> None:
    token = gateway.login()["access_token"]
    status, answer = gateway.classify(token)
    assert (status, answer["predictions"][0]["label"]) == (200, "nine")
    embedded = gateway.ask("/v1/embed", token, b'{"text": "hello"}', "application/json")
    assert (embedded[0], len(embedded[1]["embeddings"][0])) == (200, 384)
    assert (gateway.described(token), gateway.inferred(token)) == (200, 0)
    assert gateway.inferred(token, "digits_int8") == 7
    assert gateway.ask("/v2/repository/index", token, b"{}", "application/json")[0] == 403
    assert gateway.ask("/auth/me", token)[1]["name"] == "ann"
    assert (gateway.classify("")[0], gateway.inferred("")) == (401, 16)
    assert gateway.ask("/auth/revoked")[0] == 404


def test_calls_of_the_friendly_api_are_counted_for_their_pipeline(gateway: House) -> None:
    def counted(pipeline: str) -> float:
        with urllib.request.urlopen(f"http://{gateway.metrics}/metrics") as answer:
            text = answer.read().decode()
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith("ai102_gateway_requests_total{")
            and all(part in line for part in (f'pipeline="{pipeline}"', 'protocol="rest"', 'outcome="ok"'))
        )

    token, before = gateway.login()["access_token"], counted("classify_image")
    assert gateway.classify(token)[0] == 200
    wait_until(lambda: counted("classify_image") == before + 1, "the call is counted")
    assert counted("other") > 0  # the login


@pytest.mark.parametrize("by", ["token", "session", "user"])
def test_what_is_revoked_stops_within_five_seconds(by: str, gateway: House) -> None:
    answer = gateway.login()
    token, refresh = answer["access_token"], answer["refresh_token"]
    assert gateway.described(token) == 200
    began = time.monotonic()
    if by == "user":
        ai102(gateway.folder, "auth", "revoke", "--user", "ann")
    else:
        form = urllib.parse.urlencode({"token": refresh if by == "session" else token}).encode()
        assert gateway.ask("/auth/revoke", body=form, kind="application/x-www-form-urlencoded")[0] == 200
    wait_until(lambda: gateway.described(token) == 401 and gateway.inferred(token) == 16, "revoked", 5.0)
    assert time.monotonic() - began < 5.0 + 2.0  # the command itself takes a second


def test_a_rotated_key_signs_and_the_former_is_still_good(gateway: House) -> None:
    ai102(gateway.folder, "auth", "rotate-keys", "--drop-old")  # one key, so that it can be rotated
    wait_until(lambda: gateway.described(gateway.login()["access_token"]) == 200, "the one key is known")
    before = gateway.login()["access_token"]
    ai102(gateway.folder, "auth", "rotate-keys", "--at-once")
    kinds = {kid_of(before)}

    def is_rotated() -> bool:
        token = gateway.login()["access_token"]
        kinds.add(kid_of(token))
        return len(kinds) == 2 and gateway.described(token) == 200

    wait_until(is_rotated, "the new key signs and is known", 15.0)
    assert gateway.described(before) == 200


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_a_provider_that_is_not_our_issuer_is_believed_about_roles_and_nothing_else(alg: Any, gateway: House) -> None:
    wait_until(
        lambda: gateway.described(gateway.provider.token("eve", ["ml-team"], alg=alg)) == 200, "its keys are known"
    )
    assert gateway.described(gateway.provider.token("eve", ["others"], alg=alg)) == 403
    grants = [{"verbs": ["administer"], "models": ["*"]}]
    token = gateway.provider.token("eve", ["ml-team"], alg=alg, grants=grants)
    assert gateway.ask("/v2/repository/index", token, b"{}", "application/json")[0] == 403


def test_a_reload_gives_a_running_gateway_other_grants_and_a_proxy_that_comes_back_has_them_too(gateway: House) -> None:
    token, file = gateway.provider.token("eve", ["ml-team"]), gateway.folder / "gateway.toml"
    before = file.read_text(encoding="utf-8")
    ours = gateway.login()["access_token"]
    wait_until(lambda: {gateway.described(token), gateway.described(ours)} == {200}, "a caller describes every model")
    try:
        file.write_text(before.replace('models = ["*"]', 'models = ["embed_text"]', 1), encoding="utf-8")
        ai102(gateway.folder, "gateway", "reload")
        one_model = "a caller describes one model, with tokens of before too"
        wait_until(lambda: {gateway.described(token), gateway.described(ours)} == {403}, one_model, 5.0)
        os.kill(proxy_of(gateway.folder), signal.SIGKILL)
        seen: set[int] = set()

        def is_back() -> bool:
            seen.add(gateway.described(token))
            return {0, 403} <= seen

        wait_until(is_back, "the proxy was gone and is back")
        assert 200 not in seen
    finally:
        file.write_text(before, encoding="utf-8")
        ai102(gateway.folder, "gateway", "reload")
    wait_until(lambda: gateway.described(token) == 200, "a caller describes every model again")


def test_while_the_issuer_is_dead_tokens_go_on_and_logins_wait(gateway: House) -> None:
    token = gateway.login()["access_token"]
    pid = pid_of(gateway.folder, "auth", "serve")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gateway.ask("/auth/me", token)[0] == 503, "the issuer is gone")
    assert (gateway.described(token), gateway.inferred(token), gateway.classify(token)[0]) == (200, 0, 200)
    with command(gateway.folder, "auth.log", "auth", "serve"):
        wait_until(lambda: gateway.ask("/auth/me", token)[0] == 200, "the issuer is back", READY_S)
        assert gateway.described(gateway.login()["access_token"]) == 200


def test_no_log_holds_a_token_or_a_password_or_whose_phone_it_was(gateway: House) -> None:
    phone = "13800138000"
    token = ai102(gateway.folder, "auth", "token", "ann")
    assert gateway.ask("/v1/embed", token, b'{"text": "a"}', "application/json", phone)[0] == 200
    for log in ("gateway.log", "api.log"):
        wait_until(lambda log=log: '"[phone]"' in (gateway.folder / log).read_text("utf-8"), f"{log} has it")  # type: ignore[misc]
    texts = {path.name: path.read_text("utf-8", "replace") for path in gateway.folder.glob("*.log")}
    texts["audit"] = (gateway.folder / "build" / "auth" / "audit.jsonl").read_text("utf-8")
    assert [name for name, text in texts.items() if "eyJ" in text or PASSWORD in text or phone in text] == []
    assert {"ann", ""} <= {row["subject"] for row in rows(gateway.folder / "gateway.log") if "subject" in row}


def kid_of(token: str) -> str:
    head = token.split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=="))["kid"])


def pid_of(folder: Path, *words: str) -> int:
    """Of the command that this test's processes started in that folder."""
    wanted = ["ai102", *words]
    for place in Path("/proc").iterdir():
        try:
            line = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if wanted == line[2 : 2 + len(wanted)] and (place / "cwd").readlink() == folder:
                return int(place.name)
        except OSError:
            continue
    raise AssertionError(f"no process runs ai102 {' '.join(words)}")


def proxy_of(folder: Path) -> int:
    """The first process of the proxy that `ai102 gateway run` keeps up there."""
    parent = pid_of(folder, "gateway", "run")
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    found = [child for child in children if Path(f"/proc/{child}/exe").readlink().name in ("haproxy", "nginx")]
    return int(found[0])
