"""docker/start-tritonserver.sh: with which arguments tritonserver is started. The tritonserver here is a script."""

import os
import subprocess
from pathlib import Path

import pytest

from ai102.serve.completion import completion_arguments
from tests.e2e.conftest import write_repository

ROOT = Path(__file__).parent.parent.parent
WHOLE = 'backend: "python"\nmax_batch_size: 0\ninput {\n  name: "a"\n}\noutput {\n  name: "b"\n}\n'
FLAG = "--disable-auto-complete-config"


def arguments(tmp_path: Path, *own: str, **environment: str) -> list[str]:
    """What the script gives to tritonserver."""
    program = tmp_path / "bin" / "tritonserver"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    environment |= {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "AI102_MODELS": str(tmp_path / "models"),
    }
    command = [ROOT / "docker" / "start-tritonserver.sh", *own]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.splitlines()


def test_the_admin_apis_take_the_word_of_the_file_and_a_users_arguments_come_last(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("secret\n")
    given = arguments(
        tmp_path, "--http-port=1", AI102_SECRET_FILE=str(tmp_path / "word"), AI102_TRITON_ARGUMENTS="--log-info=* --b=2"
    )
    assert f"--model-repository={tmp_path / 'models'}" in given
    assert "--http-restricted-api=model-repository,shared-memory,trace,logging:ai102-secret=secret" in given
    assert given[-3:] == ["--log-info=*", "--b=2", "--http-port=1"]


def test_the_id_of_a_call_is_forwarded_where_answers_are_recorded_alone(tmp_path: Path) -> None:
    flags = [f"--{protocol}-header-forward-pattern=^x-request-id$" for protocol in ("http", "grpc")]
    given = arguments(tmp_path, "--http-port=1", AI102_ANSWERS_URL="http://quality-gate:8096/answers")
    assert [word for word in given if "forward" in word] == flags
    assert given[-1] == "--http-port=1"
    (tmp_path / "without").mkdir()
    assert not [word for word in arguments(tmp_path / "without", AI102_ANSWERS_URL="") if "forward" in word]


@pytest.mark.parametrize(
    ("files", "is_completed"),
    [
        ({"a": {"config.pbtxt": WHOLE}, "b": {"config.pbtxt": WHOLE.replace("backend", "platform")}}, False),
        ({"a": {"config.pbtxt": WHOLE, "1/model.py": "class TritonPythonModel: ..."}}, False),
        ({"a": {"config.pbtxt": WHOLE}, "b": {"config.pbtxt": WHOLE.replace("output", "  output")}}, True),
        ({"a": {"config.pbtxt": WHOLE.replace("max_batch_size", "# max_batch_size")}}, True),
        ({"a": {"config.pbtxt": WHOLE}, "b": {"1/model.onnx": ""}}, True),
        ({"a": {"config.pbtxt": WHOLE, "2/model.py": "    def auto_complete_config(config): ..."}}, True),
        ({}, True),
    ],
)
def test_configs_are_taken_as_they_are_where_none_lacks_anything(
    files: dict[str, dict[str, str]], is_completed: bool, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    write_repository(tmp_path / "models", files)
    expected = [] if is_completed else [FLAG]
    assert [word for word in arguments(tmp_path) if word == FLAG] == expected
    assert completion_arguments(tmp_path / "models", []) == expected, "ai102 serve has the same rule"


def test_models_that_may_change_are_completed(tmp_path: Path) -> None:
    write_repository(tmp_path, {"a": {"config.pbtxt": WHOLE}})
    assert completion_arguments(tmp_path, ["--model-control-mode=poll"]) == []


def test_no_config_of_the_reference_models_lacks_anything(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(ROOT / "model_repository")
    assert FLAG in arguments(tmp_path)
