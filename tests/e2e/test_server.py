"""A real server is started, its failures are reported, and it is always stopped with all its processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest
import tritonclient.http as httpclient

from ai102.errors import UserError
from ai102.serve import server as server_module
from ai102.serve.installation import allocator
from ai102.serve.server import Server

from .conftest import Files, StartServer, write_repository
from .onnx_files import addition, external, identity

pytestmark = pytest.mark.e2e

FREE_PORTS = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
PLATFORM = 'platform: "onnxruntime_onnx"\ninstance_group { kind: KIND_CPU count: 1 }\n'
ENSEMBLE = """platform: "ensemble" max_batch_size: 1
input { name: "i" data_type: TYPE_FP32 dims: 2 } output { name: "o" data_type: TYPE_FP32 dims: 2 }
ensemble_scheduling { step { model_name: "absent" model_version: -1
    input_map { key: "x" value: "i" } output_map { key: "y" value: "o" } } }
"""
# Started in a separate process, so that a test can send it signals or kill it.
SERVE = """
import sys
from pathlib import Path
from ai102.errors import UserError
from ai102.serve.server import Server, run_until_signal
with Server(Path(sys.argv[1]), http_port=0, grpc_port=0, metrics_port=0) as server:
    try:
        run_until_signal(server, lambda: print(server.pid, server.http_url, flush=True))
    except UserError as err:
        sys.exit(str(err))
"""


def addition_config(max_batch_size: int = 4, data_type: str = "TYPE_FP32", dims: str = "-1", second: str = "b") -> str:
    inputs = "".join(f'input {{ name: "{n}" data_type: {data_type} dims: [ {dims} ] }}\n' for n in ("a", second))
    return f'{PLATFORM}max_batch_size: {max_batch_size}\n{inputs}output {{ name: "sum" data_type: TYPE_FP32 dims: -1 }}'


def group(leader: int) -> list[str]:
    """The names of the processes that live in the process group of `leader`."""
    names = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text().rpartition(")")
        except OSError:
            continue  # it ended while we looked
        state, _, process_group = rest.split()[:3]
        if int(process_group) == leader and state != "Z":
            names.append(name.partition("(")[2])
    return names


def regions(starter: int) -> list[Path]:
    """The shared memory of servers that process `starter` has started."""
    return list(Path("/dev/shm").glob(f"ai102_{starter}_*"))


@pytest.fixture
def own_regions() -> Callable[[], list[Path]]:
    """What the servers that a test starts in this process have; those of other files may run meanwhile."""
    before = set(regions(os.getpid()))
    return lambda: [path for path in regions(os.getpid()) if path not in before]


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for that signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = 25) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        os.sched_yield()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files: Files = {"1/model.onnx": identity(), "config.pbtxt": PLATFORM}
    return write_repository(tmp_path_factory.mktemp("repository"), {"good": files})


@pytest.fixture
def serving(repository: Path) -> Iterator[tuple["subprocess.Popen[str]", int, str]]:
    """A process that serves: itself, the server's pid, the server's HTTP address."""
    command = [sys.executable, "-c", SERVE, str(repository)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, url = process.stdout.readline().split()
        wait_until(lambda: catches(process.pid, signal.SIGTERM), "the process waits for signals")
        try:
            yield process, int(pid), url
        finally:
            process.kill()


REFUSED: dict[str, tuple[Files, str]] = {
    "missing_file": ({"1/notes.txt": "", "config.pbtxt": PLATFORM}, "1/model.onnx is missing: build or copy it there"),
    "empty_file": ({"1/model.onnx": b"", "config.pbtxt": PLATFORM}, "1/model.onnx is not a whole ONNX file"),
    "junk_file": ({"1/model.onnx": b"junk", "config.pbtxt": PLATFORM}, "1/model.onnx is not a whole ONNX file"),
    "cut_file": (
        {"1/model.onnx": addition().SerializeToString()[:70], "config.pbtxt": PLATFORM},
        "1/model.onnx is not a whole ONNX file",
    ),
    "no_weights": (
        {"1/model.onnx": external(7)["model.onnx"], "config.pbtxt": PLATFORM},
        "1/model.onnx has its weights in a file beside it that cannot be read: copy that file too",
    ),
    "other_name": (
        {"1/model.onnx": addition(), "config.pbtxt": addition_config(second="z")},
        "config.pbtxt says input 'z', the file says 'a', 'b': use one of its names",
    ),
    "other_type": (
        {"1/model.onnx": addition(), "config.pbtxt": addition_config(data_type="TYPE_INT8")},
        "config.pbtxt says TYPE_INT8 for input 'a', the file says TYPE_FP32: write data_type: TYPE_FP32",
    ),
    "other_dims": (
        {"1/model.onnx": addition(), "config.pbtxt": addition_config(dims="3, 4")},
        "config.pbtxt says [-1, 3, 4] (the first is the batch of max_batch_size) for input 'a', the file says [-1, -1]",
    ),
    "batch_of_fixed": (
        {"1/model.onnx": addition([2, 3]), "config.pbtxt": PLATFORM + "max_batch_size: 8"},
        "config.pbtxt says max_batch_size 8, the file says [2, 3] for 'a'",
    ),
    "bad_parameter": (
        {
            "1/model.onnx": identity(),
            "config.pbtxt": PLATFORM + 'parameters { key: "intra_op_thread_count" value { string_value: "two" } }',
        },
        "parameter intra_op_thread_count is 'two': write a whole number",
    ),
    "bad_syntax": ({"1/model.onnx": identity(), "config.pbtxt": PLATFORM + "{"}, "failed to read text proto from"),
    "no_version": ({"config.pbtxt": PLATFORM}, "put the model file into a folder named 1"),
    "no_backend": (
        {"1/model.plan": b"", "config.pbtxt": addition_config().replace(PLATFORM, 'platform: "tensorrt_plan"\n')},
        "leave the model out, or use a server that has it",
    ),
    "broken_ensemble": ({"1/unused": "", "config.pbtxt": ENSEMBLE}, "not available or ambiguous: absent"),
}


@pytest.fixture(scope="module")
def refusal(start_server: StartServer) -> str:
    """The error for a repository in which every model has another mistake."""
    with pytest.raises(UserError) as caught:
        start_server({name: files for name, (files, _) in REFUSED.items()})
    return str(caught.value)


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, (_, reason) in REFUSED.items()])
def test_a_model_that_cannot_be_loaded_is_named_with_its_reason(refusal: str, name: str, reason: str) -> None:
    about = {part.split("'")[1]: part for part in refusal.split("; model ")} | {
        refusal.split("'")[1]: refusal.split("; model ")[0]
    }
    assert reason in about[name], refusal


def test_a_refusal_is_one_line_without_traceback(refusal: str) -> None:
    assert [sign for sign in ("\n", "\\n", "At:", "Traceback", "ModelRefusedError") if sign in refusal] == []


def test_a_busy_port_is_reported_before_anything_starts(
    repository: Path, own_regions: Callable[[], list[Path]]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        probe.listen()
        port = probe.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1:{port} .*stop what listens there, .*--grpc-port"):
            Server(repository, **FREE_PORTS | {"grpc_port": port}).start()
    assert own_regions() == []


def test_a_free_port_that_another_program_takes_meanwhile_is_given_up(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose, asked = server_module.chosen_ports, []

    def with_a_taken_one_at_first(host: str, ports: Mapping[str, int]) -> dict[str, int]:
        asked.append(ports)
        chosen = choose(host, ports)
        return chosen if len(asked) > 1 else {**chosen, "grpc": taken.getsockname()[1]}

    monkeypatch.setattr(server_module, "chosen_ports", with_a_taken_one_at_first)
    with socket.create_server(("127.0.0.1", 0)) as taken, Server(repository, **FREE_PORTS):
        assert asked == [{"http": 0, "grpc": 0, "metrics": 0}] * 2


def test_an_option_triton_does_not_know_is_one_line(repository: Path) -> None:
    with pytest.raises(UserError) as caught:
        Server(repository, **FREE_PORTS, extra_arguments=["--no-such-option"]).start()
    assert str(caught.value) == "tritonserver ended with status 1: unrecognized option '--no-such-option'"


def test_a_server_answers_while_open_and_leaves_nothing_behind(
    repository: Path, own_regions: Callable[[], list[Path]]
) -> None:
    lines: list[str] = []
    with Server(repository, **FREE_PORTS, models=["good"], log=lines.append) as server:
        pid = server.pid
        with httpclient.InferenceServerClient(server.http_url) as client:
            is_ready = client.is_model_ready("good")
        running = (is_ready, sorted(set(group(pid))), len(own_regions()) > 0)
    left = (group(pid), own_regions())
    assert (running, left) == ((True, ["triton_python_b", "tritonserver"], True), ([], []))
    assert any("successfully loaded 'good'" in line for line in lines)


@pytest.mark.skipif(not allocator({}), reason="no tcmalloc: apt-get install libtcmalloc-minimal4")
def test_the_server_and_its_models_allocate_by_tcmalloc(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    with Server(repository, **FREE_PORTS, models=["good"]) as server:
        leader = psutil.Process(server.pid)
        family = [leader, *leader.children(recursive=True)]
        names = {
            process.name(): any("libtcmalloc" in mapped.path for mapped in process.memory_maps())
            for process in family
            if "triton" in process.name()
        }
    assert names == {"tritonserver": True, "triton_python_backend_stub": True}


def test_a_server_that_hangs_is_killed_after_the_bound(
    repository: Path, monkeypatch: pytest.MonkeyPatch, own_regions: Callable[[], list[Path]]
) -> None:
    monkeypatch.setattr(server_module, "STOP_TIMEOUT_S", 1)
    with Server(repository, **FREE_PORTS) as server:
        pid = server.pid
        os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
    took_s = time.monotonic() - started
    assert (took_s < 4, group(pid), own_regions()) == (True, [], [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server_in_order(
    serving: tuple["subprocess.Popen[str]", int, str], number: signal.Signals
) -> None:
    process, pid, _ = serving
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors, group(pid), regions(process.pid)) == (0, "", [], [])


def test_a_second_signal_kills_the_server_at_once(serving: tuple["subprocess.Popen[str]", int, str]) -> None:
    process, pid, _ = serving
    os.kill(pid, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    process.communicate(timeout=20)
    took_s = time.monotonic() - started
    assert (took_s < 4, process.returncode, group(pid), regions(process.pid)) == (True, 0, [], [])


def test_a_server_that_dies_by_itself_is_one_line(serving: tuple["subprocess.Popen[str]", int, str]) -> None:
    process, pid, _ = serving
    os.kill(pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=20)
    message = "tritonserver ended by itself (status -9): it logged no error\n"
    assert (process.returncode, errors, group(pid), regions(process.pid)) == (1, message, [], [])


def test_the_server_ends_when_its_parent_is_killed(serving: tuple["subprocess.Popen[str]", int, str]) -> None:
    process, pid, _ = serving
    process.kill()
    process.wait()
    wait_until(lambda: not group(pid) and not regions(process.pid), "the orphaned server and its memory are gone")
