"""What is refused before a gateway opens, and what the rendered configuration holds."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.gateway import certs, running
from ai102.gateway.haproxy import proxy as haproxy
from ai102.gateway.policy import Gateway
from ai102.gateway.running import Runner
from ai102.gateway.secret import secret_of
from tests.gateway.conftest import needs, policy

pytestmark = pytest.mark.slow

REPLICAS = [("127.0.0.1:18000", "127.0.0.1:18001"), ("127.0.0.1:18010", "127.0.0.1:18011")]


@pytest.fixture
def gateway() -> Gateway:
    return policy(REPLICAS)


def test_a_missing_proxy_is_one_line_with_the_package(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    for proxy in ("haproxy", "nginx"):
        with pytest.raises(UserError, match=rf"^{proxy} is not installed: apt-get install {proxy}"):
            Runner(gateway, tmp_path, proxy).start()  # type: ignore[arg-type]


def test_the_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "build" / "secret"
    first = secret_of(path)
    assert (secret_of(path), len(first) >= 32, oct(path.stat().st_mode & 0o777)) == (first, True, "0o600")
    path.write_text("short")
    with pytest.raises(UserError, match="not one word of 16 letters or more"):
        secret_of(path)


def test_the_whole_configuration_of_haproxy_is_rendered_and_no_secret_is_in_it(
    gateway: Gateway, tmp_path: Path
) -> None:
    secret = secret_of(tmp_path / gateway.triton.secret_file)
    written = running.render(gateway, tmp_path, "haproxy")
    names = {path.name for path in written}
    assert {"haproxy.cfg", "settings.json", "haproxy.lua", "scans.lua", "judge.lua", "jwt.lua"} <= names
    assert not any(secret in path.read_text(encoding="utf-8") for path in written)


def test_each_server_breaks_connections_to_a_host_that_is_gone(gateway: Gateway, tmp_path: Path) -> None:
    """On its own line: HAProxy 2.6 reads tcp-ut in default-server, and does nothing then."""
    secret_of(tmp_path / gateway.triton.secret_file)
    (cfg,) = (path for path in running.render(gateway, tmp_path, "haproxy") if path.name == "haproxy.cfg")
    lines = re.findall(r"^ +server [ab] .*", cfg.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 8
    assert [line for line in lines if " tcp-ut 2s" not in line] == []


@needs("haproxy")
@pytest.mark.parametrize("balance", ["roundrobin", "leastconn", "source"])
@pytest.mark.parametrize("folder", ["plain", 'with "quotes", $dollars, \\ and spaces #'])
def test_haproxy_takes_every_balance_in_any_folder(balance: str, folder: str, tmp_path: Path) -> None:
    home = tmp_path / folder
    certs.make(home / "build" / "gateway" / "certs")
    gateway = policy(REPLICAS, triton={"balance": balance}, services={"api": "127.0.0.1:1", "issuer": "127.0.0.1:2"})
    secret_of(home / gateway.triton.secret_file)
    haproxy.command(home)
    running.render(gateway, home, "haproxy")
    running.check(gateway, home, "haproxy")


@needs("haproxy")
def test_a_policy_that_haproxy_does_not_take_is_told_in_its_words(tmp_path: Path) -> None:
    gateway = policy([("no.such.host.example:1", "no.such.host.example:2")], listen={"rest": "no.such.host.example:3"})
    certs.make(tmp_path / "build" / "gateway" / "certs")
    with pytest.raises(UserError, match=r"haproxy does not take its configuration: .*no\.such\.host\.example"):
        Runner(gateway, tmp_path).start()


@needs("haproxy")
def test_an_address_that_is_taken_is_told_before_the_proxy_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        certs.make(tmp_path / "build" / "gateway" / "certs")
        with pytest.raises(
            UserError, match=rf"listen\.grpc: cannot listen on {address} \(Address already in use\): stop what listens"
        ):
            Runner(policy(REPLICAS, listen={"grpc": address}), tmp_path).start()


@needs("haproxy")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reload"], "no gateway runs for"),
        (["drain", "a"], "no gateway runs for"),
        (["status"], "no gateway runs for"),
        (["run"], "tls.certificate: there is no "),
        (["render", "--policy", "nowhere.toml"], "nowhere.toml: no such file"),
    ],
)
def test_a_mistake_at_the_command_line_is_one_line_and_exit_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    for name in ("gateway.toml", "models.toml"):
        shutil.copy(name, tmp_path)
    code = (
        "import sys, typer; from ai102.cli.gateway import app; from ai102.errors import UserError\n"
        "try: app()\nexcept UserError as err: print(err, file=sys.stderr); sys.exit(2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, env=os.environ,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr


@needs("haproxy")
def test_a_defect_of_what_writes_the_state_closes_the_gateway_with_a_status_that_says_so(tmp_path: Path) -> None:
    gateway = policy(REPLICAS)
    certs.make(tmp_path / "build" / "gateway" / "certs")
    for name in ("models.toml", "masking.toml"):
        shutil.copy(name, tmp_path)
    code = (
        "import sys; from pathlib import Path; from ai102.gateway import watch\n"
        "from ai102.gateway.feed import issuers\n"
        "from ai102.gateway.policy import Gateway\n"
        "def broken(*_): raise ZeroDivisionError\n"
        "issuers.Watch.once = broken\n"
        "watch.run(Gateway.model_validate_json(sys.argv[1]), Path(sys.argv[2]), 'haproxy', print)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, gateway.model_dump_json(), tmp_path], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert (done.returncode, "the state of the gateway is written no more" in done.stderr) == (1, True), done.stderr
    with pytest.raises(UserError, match="no gateway runs for"):
        running.running_proxy(tmp_path)
