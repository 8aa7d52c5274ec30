"""What is checked before a server starts, and how its log is read."""

import socket
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.serve.addresses import chosen_ports, reachable_url
from ai102.serve.server import Server, check_repository
from ai102.serve.triton_log import TritonLog, cleaned

TRACE = r"\n\nAt:\n  /somewhere/onnxruntime/session_setup.py(79): opened_session\n"
SOURCE = "E1123 15:46:00.179439 6841 model_lifecycle.cc:642] "


def test_free_ports_differ() -> None:
    ports = chosen_ports("127.0.0.1", {"http": 0, "grpc": 0, "metrics": 0})
    assert (sorted(ports), len(set(ports.values())), 0 in ports.values()) == (["grpc", "http", "metrics"], 3, False)


@pytest.mark.parametrize(
    ("host", "reason"),
    [("192.0.2.1", "Cannot assign requested address"), ("no such host", "Name or service not known")],
)
def test_an_address_of_another_machine_is_told(host: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"cannot listen on {host}:0 .{reason}"):
        chosen_ports(host, {"http": 0})


def test_the_same_port_twice_is_told() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(UserError, match=f"127.0.0.1:{port} .*--grpc-port"):
        chosen_ports("127.0.0.1", {"http": port, "grpc": port})


@pytest.mark.parametrize(
    ("host", "wanted"),
    [("127.0.0.1", "127.0.0.1:8000"), ("0.0.0.0", "127.0.0.1:8000"), ("::", "[::1]:8000"), ("box", "box:8000")],
)
def test_a_server_that_listens_everywhere_is_reached_here(host: str, wanted: str) -> None:
    assert reachable_url(host, 8000) == wanted


@pytest.mark.parametrize(
    ("folders", "models", "reason"),
    [
        (None, None, "there is no model repository .*: run `make engine`"),
        ([], None, "is empty: run `make engine`"),
        (["digits", "minilm"], ["digits", "digit"], "model 'digit' is not in .*: it has digits, minilm"),
    ],
)
def test_a_wrong_repository_is_told_before_anything_starts(
    tmp_path: Path, folders: list[str] | None, models: list[str] | None, reason: str
) -> None:
    for folder in folders or []:
        (tmp_path / "models" / folder).mkdir(parents=True)
    if folders == []:
        (tmp_path / "models").mkdir()
    with pytest.raises(UserError, match=reason):
        check_repository(tmp_path / "models", models)


def test_a_server_that_was_not_started_has_no_pid(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not started"):
        _ = Server(tmp_path).pid


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        (f"Internal: ModelRefusedError: 1/model.onnx is missing{TRACE}", "1/model.onnx is missing"),
        ("Invalid argument: Internal: twice told. ", "twice told"),
        ("Internal: TypeError: the class says something here", "TypeError: the class says something here"),
        (
            "Invalid argument: model m has kind KIND_GPU but no GPUs are available",
            "model m has kind KIND_GPU but no GPUs are available: write kind: KIND_CPU or KIND_AUTO",
        ),
    ],
)
def test_a_reason_is_freed_from_noise(reason: str, wanted: str) -> None:
    assert cleaned(reason) == wanted


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([], "tritonserver ended with status 1: it logged no error"),
        (
            [f'{SOURCE}"CudaDriverHelper has not been initialized."', "error: creating server: Internal - no"],
            "tritonserver ended with status 1: creating server: Internal - no",
        ),
        (
            [f"{SOURCE}\"failed to load 'm' version 2: Internal: ModelRefusedError: it is bad{TRACE}\""] * 2,
            "model 'm' was not loaded: it is bad",
        ),
        (
            [
                "[libprotobuf ERROR x.cc:337] Error parsing text-format inference.ModelConfig: 1:30: Expected name",
                f"{SOURCE}\"Poll failed for model directory 'm': failed to read text proto from r/m/config.pbtxt\"",
            ],
            "model 'm' was not loaded: failed to read text proto from r/m/config.pbtxt (1:30: Expected name)",
        ),
    ],
)
def test_the_log_says_why_the_server_ended(lines: list[str], wanted: str) -> None:
    log = TritonLog()
    for line in lines:
        log.add(line)
    assert log.why_it_ended(1) == wanted


def test_an_ensemble_that_only_lacks_its_model_does_not_repeat_why() -> None:
    log = TritonLog()
    log.add(SOURCE + "\"failed to load 'net' version 1: Internal: ModelRefusedError: 1/model.onnx is missing\"")
    log.add(
        SOURCE
        + "\"failed to load model 'pair': ensemble 'pair' depends on 'net' which has no loaded version. And more\""
    )
    assert log.why_it_ended(1) == "model 'net' was not loaded: 1/model.onnx is missing; and so neither were pair"
