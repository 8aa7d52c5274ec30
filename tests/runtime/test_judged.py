"""The engine that was judged the fastest is opened; ONNX Runtime where there was no judgement or no such engine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai102_runtime.engine.cpu import COMPUTES, Cpu, served_cpu, this_cpu
from ai102_runtime.engine.engine import Instance
from ai102_runtime.engine.signature import ModelRefusedError
from ai102_runtime.onnx import judged
from ai102_runtime.openvino import engine as openvino
from tests.e2e.onnx_files import addition

ONE = np.ones((1, 1), np.float32)
ORT, OV = ({"engine": engine, "file": "model.onnx"} for engine in ("onnxruntime", "openvino"))
ANOTHER = next(cpu for cpu in COMPUTES if cpu not in COMPUTES[this_cpu()])


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
        ({ANOTHER: OV}, "ONNX Runtime"),
        ({this_cpu(): ORT, ANOTHER: OV, "otherwise": OV}, "ONNX Runtime"),
        ({this_cpu(): OV, "otherwise": ORT}, "OpenVINO"),
        ({this_cpu(): {**OV, "engine": "openvino-bf16"}}, "OpenVINO"),
        ({ANOTHER: ORT, "otherwise": OV}, "OpenVINO"),
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
    record(file, {this_cpu(): OV})
    title, (warning,) = engine_and_warnings(file)
    assert title == "ONNX Runtime"
    assert warning.endswith("OpenVINO was judged faster on this kind of CPU: openvino is not installed")


def test_a_kind_may_have_a_file_of_its_own_which_the_title_names(file: Path) -> None:
    other = file.with_name("model.x86.onnx")
    file.rename(other)
    record(file, {this_cpu(): {"engine": "onnxruntime", "file": other.name}})
    warnings: list[str] = []
    engine = judged.opened(file, {}, Instance("CPU"), warnings.append)
    assert engine.title.endswith(", from model.x86.onnx")
    assert warnings == []


def test_a_kind_that_nobody_judged_computes_the_file_that_is_named_for_it_and_it_is_said(file: Path) -> None:
    elsewhere = file.parent / "net_fp32" / "1" / "model.onnx"
    served = file.parent / "net_int8" / "1" / "model.onnx"
    for folder in (elsewhere.parent, served.parent):
        folder.mkdir(parents=True)
    file.rename(elsewhere)
    served.write_bytes(b"INT8 for another CPU")
    record(served, {ANOTHER: OV, "otherwise": {"engine": "onnxruntime", "file": "../../net_fp32/1/model.onnx"}})
    title, (warning,) = engine_and_warnings(served)
    assert title == "ONNX Runtime"
    assert warning == (
        f"computed from ../../net_fp32/1/model.onnx: nobody judged 1/model.onnx on this kind of CPU, {this_cpu()}"
    )


def test_a_file_that_the_record_names_and_that_is_missing_is_one_line(file: Path) -> None:
    record(file, {this_cpu(): {"engine": "onnxruntime", "file": "model.x86.onnx"}})
    with pytest.raises(ModelRefusedError, match=r"model\.x86\.onnx is missing"):
        engine_and_warnings(file)


@pytest.mark.parametrize("cpu", [cpu for cpu in COMPUTES if cpu in COMPUTES[this_cpu()]])
def test_the_environment_names_a_kind_whose_files_this_cpu_computes_alike(cpu: Cpu) -> None:
    assert served_cpu({"AI102_CPU_KIND": cpu}) == cpu
    assert served_cpu({}) == served_cpu({"AI102_CPU_KIND": ""}) == this_cpu()


@pytest.mark.parametrize("named", [ANOTHER, "x87"])
def test_the_environment_names_no_kind_that_this_cpu_computes_otherwise(named: str) -> None:
    with pytest.raises(ModelRefusedError, match=f"^AI102_CPU_KIND is '{named}': this CPU computes files for "):
        served_cpu({"AI102_CPU_KIND": named})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        '["openvino"]',
        '{"x86": "openvino"}',
        '{"x86": {"engine": "openvino"}}',
        '{"x86": {"engine": ["openvino"], "file": "model.onnx"}}',
        '{"x86": {"engine": "tensorrt", "file": "model.onnx"}}',
        '{"x86": {"engine": "openvino", "file": "/etc/model.onnx"}}',
        '{"x86": {"engine": "openvino", "file": "../model.onnx"}}',
        "\xff{}",
    ],
)
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
    assert "HINT_BF16" not in judged.openvino_config(config)["parameters"]
    assert judged.openvino_config(config, "openvino-bf16")["parameters"]["HINT_BF16"] == {"string_value": "YES"}
