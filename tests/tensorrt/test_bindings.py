"""Every name of TensorRT's that the code uses exists in the real bindings of 10.16 and 11.4.

The bindings want TensorRT's libraries only for nine symbols: a stub compiled here lets them be imported anywhere.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = sorted((ROOT / "tools" / "ai102" / "tensorrt").glob("*.py"))
WHEELS = ROOT / "build" / "tensorrt-bindings"
SYMBOLS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry",
    "getPluginRegistry", "getNvOnnxParserVersion", "initLibNvInferPlugins",
)  # fmt: skip
# What is called on objects rather than on the module.
METHODS = {
    "Builder": "build_serialized_network create_builder_config create_network create_optimization_profile",
    "EngineInspector": "get_engine_information",
    "IBuilderConfig": "add_optimization_profile builder_optimization_level create_timing_cache get_timing_cache "
    "hardware_compatibility_level profiling_verbosity progress_monitor set_flag set_memory_pool_limit "
    "set_timing_cache",
    "ICudaEngine": "create_engine_inspector create_execution_context get_tensor_dtype get_tensor_mode "
    "get_tensor_name num_io_tensors",
    "IExecutionContext": "execute_async_v3 get_tensor_shape set_input_shape set_tensor_address",
    "INetworkDefinition": "get_input num_inputs",
    "IOptimizationProfile": "set_shape",
    "ITimingCache": "serialize",
    "OnnxParser": "get_error num_errors parse_from_file",
    "ParserError": "desc node_name node_operator",
    "Runtime": "deserialize_cuda_engine",
}


def names_used() -> set[str]:
    """Every dotted name behind `trt.` or `self._trt.` in the code, and METHODS."""
    found = {f"{owner}.{method}" for owner, methods in METHODS.items() for method in methods.split()}
    for file in CODE:
        found |= {name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) for name in dotted(node)}
    return found


def dotted(node: ast.AST) -> Iterator[str]:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        if ast.unparse(node.value) in ("trt", "self._trt"):
            yield ".".join(reversed(parts))
        node = node.value


def wheel(version: str) -> Path:
    pattern = f"tensorrt_cu12_bindings-{version}.*cp{sys.version_info.major}{sys.version_info.minor}-*.whl"
    if not (found := sorted(WHEELS.glob(pattern))):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(WHEELS)]
        done = subprocess.run([*command, f"tensorrt-cu12-bindings=={version}.*"], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"tensorrt-cu12-bindings {version} cannot be had: {done.stderr.strip().splitlines()[-1]}")
        found = sorted(WHEELS.glob(pattern))
    return found[0]


@pytest.mark.parametrize("version", ["10.16.1", "11.4.0"])
def test_every_name_the_code_uses_exists_in_the_real_bindings(version: str, tmp_path: Path) -> None:
    if sys.platform != "linux" or (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler `cc` to make the stub of TensorRT's libraries with")
    shutil.unpack_archive(wheel(version), tmp_path, "zip")
    stub = tmp_path / "stub.c"
    stub.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in SYMBOLS))
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        soname = f"lib{library}.so.{version.split('.')[0]}"
        arguments = ["-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", str(tmp_path / soname), str(stub)]
        subprocess.run([compiler, *arguments], check=True)
    program = """
import functools, json, sys
import tensorrt_bindings as trt
def has(name):
    try:
        functools.reduce(getattr, name.split("."), trt)
    except AttributeError:
        return False
    return True
print(trt.__version__)
print(json.dumps([name for name in json.loads(sys.argv[1]) if not has(name)]))
"""
    names = sorted(names_used())
    environment = {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps([*names, "BuilderFlag.NO_SUCH_FLAG"])],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, missing = done.stdout.splitlines()
    assert found.startswith(version)
    assert len(names) > 40
    assert json.loads(missing) == ["BuilderFlag.NO_SUCH_FLAG"]
