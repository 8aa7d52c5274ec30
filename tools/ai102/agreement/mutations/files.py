"""Mutations of a model's versions, of its files and of its warm-up."""

from __future__ import annotations

from collections.abc import Mapping

from ai102.agreement.mutations.edits import Kind, add, adds, both, drop, kind, move, put, swap, swaps
from ai102.agreement.mutations.seeds import MODEL_PY

ON_OPENVINO = '{"engine": "openvino", "file": "model.onnx"}'


def warmup(value: str, batch_size: str = "batch_size: 1", name: str = "w", key: str = "x") -> str:
    return f'model_warmup {{ name: "{name}" {batch_size} inputs {{ key: "{key}" value {{ {value} }} }} }}'


ZEROS = "data_type: TYPE_FP32 dims: [ 4 ] zero_data: true"
KINDS: Mapping[str, Kind] = {
    "version_policy": kind(
        "plain versions onnx chain tensorrt_plan",
        *swaps("versions: [ 1, 3 ]", "versions: [ 1 ]", "versions: [ 4 ]", "versions: [ 1, 4 ]", "versions: [ ]"),
        *swaps("versions: [ 1, 3 ]", "versions: [ 0 ]", "versions: [ -1 ]", "versions: [ 1, 1 ]", "versions: [ 03 ]"),
        *swaps(
            "specific: { versions: [ 1, 3 ] }",
            "",
            "all { }",
            "latest { }",
            "latest { num_versions: 0 }",
            "specific { }",
        ),
        *swaps(
            "specific: { versions: [ 1, 3 ] }",
            "latest { num_versions: 2 }",
            "latest { num_versions: 9 }",
            "all { } all { }",
        ),
        *swaps("specific: { versions: [ 1, 3 ] }", "latest { num_versions: -1 }", "all { } latest { }"),
        *adds("version_policy { all { } }", "version_policy { latest { num_versions: 0 } }"),
        add("version_policy { specific { versions: 2 } }"),
        most=28,
    ),
    "no_version_folder": kind("plain onnx chain flat tensorrt_plan versions", drop("1/"), most=6),
    "odd_version_folder": kind(
        "plain onnx chain tensorrt_plan",
        *(move("1/", f"{name}/") for name in ("0", "01", "abc", "-1", "1.0", "v1", "1a", "+1", " 1", "00", "2", "007")),
        *(
            move("1/", f"{name}/")
            for name in ("9223372036854775807", "9223372036854775808", ".1", "1_0", "\uff11", "1e3")
        ),
        most=36,
    ),
    "one_version_folder_more": kind(
        "plain onnx chain",
        *(put(f"{name}/model.py", MODEL_PY) for name in ("0", "abc", "01", ".git", "-2")),
        put("abc/notes.txt", "none"),
        put("2"),
        put("docs/"),
        most=12,
    ),
    "empty_newest_version": kind("onnx chain tensorrt_plan", put("2/"), put("7/notes.txt"), most=5),
    "model_file_missing": kind(
        "onnx plain",
        both(drop("1/model.onnx"), put("1/")),
        move("1/model.onnx", "1/model.ONNX"),
        move("1/model.onnx", "model.onnx"),
        both(drop("1/model.py"), put("1/")),
        move("1/model.py", "1/main.py"),
        move("1/model.py", "model.py"),
    ),
    "model_file_broken": kind(
        "onnx plain",
        put("1/model.py", "class TritonPythonModel:\n  pass\n"),
        put("1/model.py", "import json\n"),
        put("1/model.py", "def broken(:\n"),
        put("1/model.py", "import no_such_module\n"),
        put("1/model.py", ""),
        put("1/model.onnx", b"junk"),
        put("1/model.onnx", b""),
        most=9,
    ),
    "choice_of_engine": kind(
        "onnx",
        put("1/model.engines.json", "{}"),
        put("1/model.engines.json", f'{{"x86-vnni": {ON_OPENVINO}, "x86": {ON_OPENVINO}, "otherwise": {ON_OPENVINO}}}'),
        put("1/model.engines.json", '{"otherwise": {"engine": "onnxruntime", "file": "../../absent/1/model.onnx"}}'),
        put("1/model.engines.json", '{"x86-vnni": {"engine": "tensorrt", "file": "model.onnx"}}'),
        put("1/model.engines.json", '["openvino"]'),
        put("1/model.engines.json", "{"),
        most=6,
    ),
    "default_model_filename": kind(
        "onnx plain tensorrt_plan",
        *adds(
            'default_model_filename: "absent.onnx"',
            'default_model_filename: ""',
            'default_model_filename: "../2/model.py"',
        ),
        both(move("1/model.onnx", "1/net.onnx"), add('default_model_filename: "net.onnx"')),
        both(move("1/model.py", "1/net.py"), add('default_model_filename: "net.py"')),
        both(move("1/model.py", "1/sub/net.py"), add('default_model_filename: "sub/net.py"')),
        most=10,
    ),
    "cc_model_filenames": kind(
        "onnx plain tensorrt_plan",
        *adds('cc_model_filenames { key: "9.0" value: "absent" }', "cc_model_filenames { }"),
        most=5,
    ),
    "warmup_inputs": kind(
        "plain unbatched onnx tensorrt_plan",
        *adds('model_warmup { name: "w" batch_size: 1 }', "model_warmup { }", 'model_warmup { name: "w" }'),
        add(warmup(ZEROS, key="absent")),
        add(warmup(ZEROS)),
        add(warmup(ZEROS, name="")),
        add(warmup(ZEROS) + warmup(ZEROS)),
        add(warmup("data_type: TYPE_INT64 dims: [ 2 ] zero_data: true", key="length")),
        most=22,
    ),
    "warmup_tensors": kind(
        "warmed",
        *swaps(
            "dims: [ 4 ] zero",
            "dims: [ 5 ] zero",
            "dims: [ -1 ] zero",
            "dims: [ 2, 2 ] zero",
            "zero",
            "dims: [ 0 ] zero",
        ),
        *swaps("TYPE_FP32 dims: [ 4 ] zero", "TYPE_INT32 dims: [ 4 ] zero", "TYPE_STRING dims: [ 4 ] zero"),
        *swaps("data_type: TYPE_FP32 dims: [ 4 ] zero", "dims: [ 4 ] zero", "data_type: TYPE_INVALID dims: [ 4 ] zero"),
        *swaps(
            "zero_data: true",
            "zero_data: false",
            "random_data: true",
            "",
            "random_data: false",
            "zero_data: true random_data: true",
        ),
        swap('key: "x"', 'key: "y"'),
        swap('key: "x"', ""),
        most=20,
    ),
    "warmup_batches": kind(
        "warmed",
        *swaps("batch_size: 1\n", "batch_size: 0\n", "\n", "batch_size: 8\n", "batch_size: 9\n", "batch_size: -1\n"),
        *swaps("count: 2", "count: 0", "count: 1", "count: -1", "count: 100"),
        swap("max_batch_size: 8", "max_batch_size: 0"),
        swap("max_batch_size: 8", "max_batch_size: 1"),
        most=12,
    ),
    "warmup_files": kind(
        "warmed",
        drop("warmup/sample"),
        put("warmup/sample", bytes(15)),
        put("warmup/sample", bytes(17)),
        put("warmup/sample", b""),
        put("warmup/sample", bytes(32)),
        move("warmup/sample", "sample"),
        move("warmup/sample", "1/sample"),
        *swaps('"sample"', '"absent"', '""', '"../warmup/sample"', '"/sample"'),
        most=12,
    ),
}
