"""Replicas that die, are drained, stopped and started again behind HAProxy, while requests flow."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from ai102.errors import UserError
from ai102.gateway import replicas, running, watch
from ai102.gateway.haproxy import proxy
from ai102.gateway.policy import Gateway
from ai102.gateway.running import Runner
from tests.gateway.access_log import failed_rows, row_of, rows, was_cut
from tests.gateway.asking import Asker, binary_body, infer_message, tensor_json
from tests.gateway.conftest import SECRET, MakeHome, needs, policy, wait_until
from tests.gateway.load import INFER, Protocol, steady
from tests.ports import free_addresses
from tests.servers import Server

pytestmark = [pytest.mark.e2e, needs("haproxy")]

NO_LIMIT = {"requests_per_10s": 10_000_000}
ENOUGH = 1500  # requests in a try


@pytest.fixture
def own_replicas(echo_repository: Path) -> Iterator[list[Server]]:
    """Three that a test may kill."""
    with ExitStack() as servers:
        yield [
            servers.enter_context(
                Server(echo_repository, http_port=0, grpc_port=0, metrics_port=0,
                       extra_arguments=replicas.restricting_arguments(SECRET))
            )
            for _ in range(3)
        ]  # fmt: skip


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_kill_9_of_a_replica_under_load_costs_at_most_one_call_in_a_thousand_and_only_answers_that_had_begun(
    protocol: Protocol, own_replicas: list[Server], make_home: MakeHome, caller: str
) -> None:
    home = make_home([(server.http_url, server.grpc_url) for server in own_replicas], limits=NO_LIMIT)
    log = home.folder / "log"
    with Runner(home.gateway, home.folder, log=log):
        with steady(home, caller, protocol) as load:
            load.wait_for(ENOUGH // 2)
            os.killpg(own_replicas[0].pid, signal.SIGKILL)
            load.wait_for(ENOUGH)
        states = {state.name: state.is_up for state in proxy.states(home.gateway, home.folder)}
    assert states == {"a": False, "b": True, "c": True}
    # What the caller has in part cannot be asked for again.
    begun = sum(was_cut(row) for row in rows(log))
    assert len(load.failures) <= min(begun, load.done // 1000), (load.failures, failed_rows(log))


def test_a_replica_that_is_drained_before_it_stops_costs_no_call(
    own_replicas: list[Server], make_home: MakeHome, caller: str
) -> None:
    home = make_home([(server.http_url, server.grpc_url) for server in own_replicas], limits=NO_LIMIT)
    log = home.folder / "log"
    with (
        Runner(home.gateway, home.folder, log=log),
        steady(home, caller, "rest", 2) as rest,
        steady(home, caller, "grpc", 2) as grpc,
    ):
        rest.wait_for(200)
        watch.drain(home.gateway, home.folder, "haproxy", "b", 30)
        own_replicas[1].stop()
        rest.wait_for(300)
        own_replicas[1].start()
        proxy.undrain(home.gateway, home.folder, "b")
        wait_until(lambda: all(state.is_up for state in proxy.states(home.gateway, home.folder)), "all are up")
        grpc.wait_for(300)
    assert (rest.failures, grpc.failures) == ([], []), failed_rows(log)


@pytest.mark.parametrize("kind", [pytest.param("haproxy"), pytest.param("nginx", marks=needs("nginx"))])
def test_an_answer_of_the_gateway_itself_is_in_the_log_with_its_status(
    kind: str, make_home: MakeHome, caller: str
) -> None:
    nobody = free_addresses(2)
    home = make_home([(nobody[0], nobody[1])])
    log = home.folder / "log"
    with Runner(home.gateway, home.folder, kind, log):
        asker = Asker(home)
        rest = asker.status("POST", INFER, caller, json=tensor_json(), headers={"x-request-id": "rest"})
        grpc = asker.call(infer_message(), caller, metadata={"x-request-id": "grpc"})
        asker.close()
        told = row_of(log, "rest")["status"], row_of(log, "grpc")["grpc_status"]
    assert (rest, grpc, told) == (503, "UNAVAILABLE", (503, 14))


def test_a_drained_replica_gets_no_long_body_either(make_home: MakeHome, caller: str) -> None:
    home = make_home()
    log = home.folder / "log"
    with Runner(home.gateway, home.folder, log=log):
        asker = Asker(home)
        proxy.drain(home.gateway, home.folder, "a")
        body, headers = binary_body(1 << 20)
        for number in range(6):
            asker.status("POST", INFER, caller, content=body, headers=headers | {"x-request-id": f"rest-{number}"})
            asker.call(infer_message(size=1 << 20), caller, metadata={"x-request-id": f"grpc-{number}"})
        asker.close()
        asked = {row_of(log, f"{protocol}-{n}")["replica"] for protocol in ("rest", "grpc") for n in range(6)}
    assert asked == {"b", "c"}


def test_drain_waits_for_the_last_request_and_says_when_it_does_not_end(make_home: MakeHome, caller: str) -> None:
    home = make_home()
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        asker = Asker(home)
        for name in ("b", "c"):
            proxy.drain(home.gateway, home.folder, name)
        slow = threading.Thread(target=lambda: asker.ask("POST", INFER, caller, json=tensor_json(sleep_ms=3000)))
        slow.start()
        wait_until(lambda: proxy.states(home.gateway, home.folder)[0].busy == 1, "the request is at a")
        proxy.undrain(home.gateway, home.folder, "b")
        with pytest.raises(UserError, match=r"replica a is drained, but still has 1 requests after 0\.2 s"):
            watch.drain(home.gateway, home.folder, "haproxy", "a", 0.2)
        watch.drain(home.gateway, home.folder, "haproxy", "a", 30)
        slow.join()
        seen = [(state.name, state.is_up, state.is_drained) for state in proxy.states(home.gateway, home.folder)]
        assert seen == [("a", True, True), ("b", True, False), ("c", True, True)]
        with pytest.raises(UserError, match=r"no replica 'z' in gateway\.toml; there are a, b, c"):
            proxy.drain(home.gateway, home.folder, "z")
        asker.close()


def test_a_reload_loses_no_request_and_keeps_what_is_drained_and_a_wrong_one_changes_nothing(
    make_home: MakeHome, caller: str
) -> None:
    home = make_home(limits=NO_LIMIT)
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        asker = Asker(home)
        proxy.drain(home.gateway, home.folder, "c")
        with steady(home, caller, "rest", 2) as rest, steady(home, caller, "grpc", 2) as grpc:
            rest.wait_for(100)
            limits = home.gateway.limits.model_copy(update={"max_body_bytes": 1000})
            running.reload(home.gateway.model_copy(update={"limits": limits}), home.folder, "haproxy")
            wait_until(lambda: asker.status("POST", INFER, caller, content=b"x" * 1500) == 413, "the new limit")
            running.reload(home.gateway, home.folder, "haproxy")
        assert [answer for answer in rest.failures + grpc.failures if "413" not in answer
                and "RESOURCE_EXHAUSTED" not in answer] == [], failed_rows(home.folder / "log")  # fmt: skip
        before = proxy.files(home.gateway, home.folder)
        wrong = home.gateway.model_copy(
            update={"listen": home.gateway.listen.model_copy(update={"rest": "no.such.host.example:1"})}
        )
        with pytest.raises(UserError, match="haproxy does not take its configuration"):
            running.reload(wrong, home.folder, "haproxy")
        assert {path: path.read_text() for path in before} == before
        assert asker.status("POST", INFER, caller, json=tensor_json()) == 200
        assert [state.is_drained for state in proxy.states(home.gateway, home.folder)] == [False, False, True]
        asker.close()


def test_replicas_that_are_killed_come_back_and_stop_whole(echo_repository: Path, tmp_path: Path) -> None:
    addresses = free_addresses(4)
    gateway = policy([(addresses[0], addresses[1]), (addresses[2], addresses[3])])
    script = tmp_path / "serve.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom ai102.gateway.policy import Gateway\n"
        "from ai102.gateway.replicas import serve_replicas\n"
        "gateway = Gateway.model_validate_json(sys.argv[1])\n"
        "serve_replicas(gateway, Path(sys.argv[2]), 2, Path(sys.argv[3]), models=['echo'],\n"
        "               say=lambda line: print(line, flush=True), log=lambda line: None)\n"
    )
    command = [sys.executable, script, gateway.model_dump_json(), tmp_path, echo_repository]
    output = tmp_path / "out"
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "ready: 2 replicas" in output.read_text(), "ready", within_s=60)
        pid = int(output.read_text().split("replica a: ")[1].split("pid ")[1].split(",")[0])
        os.killpg(pid, signal.SIGKILL)
        wait_until(lambda: "replica a is back" in output.read_text(), "a is back", within_s=60)
        assert httpx.get(f"http://{addresses[0]}/v2/health/ready", trust_env=False).status_code == 200
        assert httpx.post(f"http://{addresses[0]}/v2/repository/index", trust_env=False).status_code == 403
    finally:
        process.terminate()
        assert process.wait(30) == 0, output.read_text()
    assert not _answers(addresses[0])
    assert not _answers(addresses[2])


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/v2/health/live", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_a_proxy_that_dies_is_started_again_and_the_gateway_closes_whole(
    make_home: MakeHome, tmp_path: Path, caller: str
) -> None:
    home = make_home()
    (home.folder / "gateway.toml").write_text(_toml(home.gateway))
    (home.folder / "models.toml").write_text(Path("models.toml").read_text())
    output = tmp_path / "out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; from ai102.cli.gateway import app; app()", "run"],
            cwd=home.folder, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_until(lambda: "open: https" in output.read_text(), "the gateway is open", within_s=30)
        asker = Asker(home)
        assert asker.status("GET", "/v2/health/ready") == 200
        master = _child_of(process.pid, "haproxy")
        os.killpg(master, signal.SIGKILL)
        wait_until(lambda: "it starts again in 0.2 s" in output.read_text(), "it is told")
        wait_until(lambda: _is_ready(asker), "it is back")
        assert _child_of(process.pid, "haproxy") != master
    finally:
        process.terminate()
        assert process.wait(30) == 0, output.read_text()
    wait_until(lambda: not _is_ready(asker), "closed")
    with pytest.raises(UserError, match="no gateway runs for"):
        running.running_proxy(home.folder)


def test_a_gateway_closes_when_whoever_watches_it_is_killed(make_home: MakeHome, tmp_path: Path) -> None:
    home = make_home()
    script = (
        "import sys, time; from pathlib import Path; from ai102.gateway.policy import Gateway;"
        "from ai102.gateway.running import Runner;"
        "Runner(Gateway.model_validate_json(sys.argv[1]), Path(sys.argv[2])).start(); print('open', flush=True);"
        "time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, home.gateway.model_dump_json(), home.folder], stdout=subprocess.PIPE
    )
    asker = Asker(home)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        assert _is_ready(asker)
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: not _is_ready(asker), "closed")
    asker.close()


def _is_ready(asker: Asker) -> bool:
    try:
        return asker.status("GET", "/v2/health/ready") == 200
    except httpx.TransportError:
        return False


def _child_of(pid: int, name: str) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    threads = [
        child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return next(
        int(child) for child in {*children, *threads} if Path(f"/proc/{child}/comm").read_text().strip() == name
    )


def _toml(gateway: Gateway) -> str:
    """The policy as a file, as far as these tests set it."""
    listen = gateway.listen
    lines = [
        "[listen]",
        f'rest = "{listen.rest}"',
        f'grpc = "{listen.grpc}"',
        f'status = "{listen.status}"',
        f'metrics = "{listen.metrics}"',
        "[triton]",
    ]
    for replica in gateway.triton.replicas:
        lines += [
            "[[triton.replicas]]",
            f'name = "{replica.name}"',
            f'http = "{replica.http}"',
            f'grpc = "{replica.grpc}"',
        ]
    lines += [
        "[[issuers]]",
        'issuer = "https://ai102.example"',
        'audience = "ai102"',
        'jwks = "http://127.0.0.1:9/jwks"',
    ]
    lines += ["[roles.caller]", "[[grants]]", 'role = "caller"', 'verbs = ["infer"]', 'models = ["echo"]']
    return "\n".join(lines) + "\n"
