"""The engine that was judged the fastest is opened; ONNX Runtime where there was no judgement or no such engine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai102_runtime.engine.cpu import this_cpu
from ai102_runtime.engine.engine import Instance
from ai102_runtime.engine.signature import ModelRefusedError
from ai102_runtime.onnx import judged
from ai102_runtime.openvino import engine as openvino
from tests.e2e.onnx_files import addition

ONE = np.ones((1, 1), np.float32)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    file = tmp_path / "model.onnx"
    file.write_bytes(addition().SerializeToString())
    return file


def record(file: Path, content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (file.parent / "model.engines.json").write_text(text)


def engine_and_warnings(file: Path, kind: str = "CPU") -> tuple[str, list[str]]:
    warnings: list[str] = []
    engine = judged.opened(file, {}, Instance(kind), warnings.append)
    assert engine.run(["sum"], {"a": ONE, "b": ONE})[0].tolist() == [[2.0]]
    return engine.title.split(" 20")[0].split(" 1")[0], warnings


@pytest.mark.parametrize(
    ("content", "title"),
    [
        (None, "ONNX Runtime"),
        ({}, "ONNX Runtime"),
        ({"another kind": "openvino"}, "ONNX Runtime"),
        ({this_cpu(): "onnxruntime", "another kind": "openvino"}, "ONNX Runtime"),
        ({this_cpu(): "openvino"}, "OpenVINO"),
    ],
)
def test_the_choice_for_this_kind_of_cpu_is_opened(file: Path, content: Any, title: str) -> None:
    if content is not None:
        record(file, content)
    assert engine_and_warnings(file) == (title, [])


def test_what_openvino_cannot_open_is_computed_by_onnx_runtime_and_the_reason_is_said(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise ModelRefusedError("openvino is not installed")

    monkeypatch.setattr(openvino, "opened", refuse)
    record(file, {this_cpu(): "openvino"})
    title, (warning,) = engine_and_warnings(file)
    assert title == "ONNX Runtime"
    assert warning.endswith("OpenVINO was judged faster on this kind of CPU: openvino is not installed")


@pytest.mark.parametrize("content", ["", "{", '["openvino"]', '{"x86": "tensorrt"}', '{"x86": ["openvino"]}', "\xff{}"])
def test_a_record_that_cannot_be_read_is_refused(file: Path, content: str) -> None:
    (file.parent / "model.engines.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelRefusedError, match=r"model\.engines\.json is not a record of engines"):
        engine_and_warnings(file)


@pytest.mark.parametrize(("threads", "count", "total"), [("2", 1, "2"), ("2", 3, "6"), ("0", 3, None), ("", 1, None)])
def test_each_instance_gets_the_threads_that_it_has_in_onnx_runtime(
    threads: str, count: int, total: str | None
) -> None:
    config = {
        "parameters": {"intra_op_thread_count": {"string_value": threads}},
        "instance_group": [{"count": count}],
    }
    given = judged.openvino_config(config)["parameters"].get("INFERENCE_NUM_THREADS")
    assert given == (None if total is None else {"string_value": total})
