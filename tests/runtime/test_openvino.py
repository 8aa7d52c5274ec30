"""The OpenVINO engine without a server: its settings, its checks of shapes, its cache of compiled models."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from ai102_runtime.engine.engine import Instance
from ai102_runtime.engine.signature import ModelRefusedError, Signature, TensorSpec, completion
from ai102_runtime.openvino import compiled_cache, engine, model_file
from ai102_runtime.openvino.settings import settings_from_config
from ai102_runtime.seal import memory
from tests.e2e.onnx_files import addition, model, node, plus, tensor


def config(parameters: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    values = {key: {"string_value": value} for key, value in (parameters or {}).items()}
    return {"parameters": values, "instance_group": [{"count": 1}]} | more


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ai102" / "openvino"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "1" / "model.onnx"
    place.parent.mkdir()
    place.write_bytes(addition().SerializeToString())
    return place


def test_bfloat16_and_all_processors_are_used_only_where_the_config_says_so() -> None:
    own = settings_from_config(config()).properties
    asked = settings_from_config(config({"HINT_BF16": "yes", "INFERENCE_NUM_THREADS": "3"})).properties
    keys = ("INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS", "ENABLE_CPU_PINNING")
    assert [own[key] for key in keys] == ["f32", len(os.sched_getaffinity(0)), 1, False]
    assert [asked[key] for key in keys] == ["bf16", 3, 1, False]


@pytest.mark.parametrize(("threads", "groups", "each"), [("8", [2, 2], 2), ("1", [4], 1), ("5", [1], 5)])
def test_the_instances_of_a_model_share_its_threads(threads: str, groups: list[int], each: int) -> None:
    asked = config({"INFERENCE_NUM_THREADS": threads}, instance_group=[{"count": count} for count in groups])
    assert settings_from_config(asked).properties["INFERENCE_NUM_THREADS"] == each


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("INFERENCE_NUM_THREADS", "-1", "INFERENCE_NUM_THREADS is '-1': write a whole number"),
        ("COMPILATION_NUM_THREADS", "all", "COMPILATION_NUM_THREADS is 'all': write a whole number"),
        ("NUM_STREAMS", "", "NUM_STREAMS is '': write AUTO, NUMA or a whole number"),
        ("HINT_BF16", "NO", "HINT_BF16 is 'NO': write YES, or leave it out"),
        ("PERFORMANCE_HINT", "FAST", "PERFORMANCE_HINT is 'FAST': write LATENCY or THROUGHPUT or CUMUL"),
        ("RESHAPE_IO_LAYERS", "true", "RESHAPE_IO_LAYERS is 'true': write YES or NO"),
        ("TARGET_DEVICE", "AUTO", "TARGET_DEVICE is 'AUTO', and this backend computes on the CPU"),
    ],
)
def test_a_malformed_parameter_is_refused(key: str, value: str, reason: str) -> None:
    with pytest.raises(ModelRefusedError, match=reason):
        settings_from_config(config({key: value}))


def test_a_batch_is_completed_only_where_the_file_says_which_dimension_it_is() -> None:
    tensors = ((TensorSpec("x", "TYPE_FP32", (-1, 3)),), (TensorSpec("y", "TYPE_FP32", (-1, 2)),))
    silent, says = (Signature(*tensors, completes_batch=one) for one in (False, True))
    results = [completion({}, one, 4) for one in (silent, says)]
    assert [(r.max_batch_size, r.inputs[0]["dims"], r.wants_dynamic_batching) for r in results] == [
        (0, [-1, 3], False),
        (4, [3], True),
    ]
    assert completion({"max_batch_size": 8}, silent, 4).max_batch_size == 8


def test_the_second_opening_takes_the_compiled_model(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.opened(file, config(), Instance())
    (entry,) = cache.iterdir()
    monkeypatch.setattr(engine, "read_model", None)  # not called: the file is not read again
    again = engine.opened(file, config(), Instance())
    one = np.ones((2, 3), np.float32)
    assert [array.tolist() for array in again.run(["sum", "difference"], {"a": one, "b": one})] == [
        [[2.0] * 3] * 2,
        [[0.0] * 3] * 2,
    ]
    assert list(cache.iterdir()) == [entry]


@pytest.mark.parametrize("kept", [0.0, 0.5])
@pytest.mark.parametrize("damage", ["model.blob", "shapes.xml"])
def test_a_damaged_entry_is_replaced(file: Path, cache: Path, damage: str, kept: float) -> None:
    engine.opened(file, config(), Instance())
    (entry,) = cache.iterdir()
    whole = (entry / damage).read_bytes()
    (entry / damage).write_bytes(whole[: int(len(whole) * kept)])
    one = np.ones((1, 1), np.float32)
    assert engine.opened(file, config(), Instance()).run(["sum"], {"a": one, "b": one})[0].tolist() == [[2.0]]
    assert len((entry / damage).read_bytes()) > len(whole) * 0.9


def test_another_file_and_other_settings_have_entries_of_their_own(file: Path, cache: Path) -> None:
    engine.opened(file, config(), Instance())
    engine.opened(file, config({"HINT_BF16": "YES"}), Instance())
    file.write_bytes(plus(3).SerializeToString())
    engine.opened(file, config(), Instance())
    assert len(list(cache.iterdir())) == 3


def test_copies_of_a_file_have_one_entry_whatever_the_build_wrote_about_them(file: Path, cache: Path) -> None:
    engine.opened(file, config(), Instance())
    copy = file.parent.parent / "2" / file.name
    copy.parent.mkdir()
    copy.write_bytes(file.read_bytes())
    copy.with_name("model.engines.json").write_text("{}")
    copy.with_name("model.onnx.made.json").write_text("{}")
    copy.with_name("model.x86.onnx").write_bytes(b"of another kind of CPU")
    engine.opened(copy, config(), Instance())
    assert len(list(cache.iterdir())) == 1
    copy.with_name("weights").write_bytes(b"1")
    engine.opened(copy, config(), Instance())
    assert len(list(cache.iterdir())) == 2


def test_a_model_has_its_weights_in_the_mapped_entry_and_outlives_that_entry(file: Path, cache: Path) -> None:
    table = np.arange(100_000, dtype=np.float32).reshape(1000, 100)
    lookup = model(
        [node("Gather", ["table", "ids"], ["y"])],
        [tensor("ids", "INT64", ["n"])],
        [tensor("y", "FP32", ["n", 100])],
        [numpy_helper.from_array(table, "table")],
    )
    file.write_bytes(lookup.SerializeToString())
    for _ in range(2):  # compiled, and as it was compiled before
        opened = engine.opened(file, config(), Instance())
        (entry,) = cache.iterdir()
        assert str(entry / "model.blob") in Path("/proc/self/maps").read_text()
        ids = np.array([0, 7, 999], np.int64)
        assert np.array_equal(opened.run(["y"], {"ids": ids})[0], table[ids])
    compiled_cache.discard(entry)
    assert np.array_equal(opened.run(["y"], {"ids": ids})[0], table[ids])


def test_what_cannot_be_opened_again_is_computed_as_it_was_compiled(
    file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(place: Path, key: str, write: Any) -> None:
        (place / key).mkdir()
        (place / key / "shapes.xml").write_text("<net")

    monkeypatch.setattr(compiled_cache, "put", half)
    one = np.ones((1, 1), np.float32)
    assert engine.opened(file, config(), Instance()).run(["sum"], {"a": one, "b": one})[0].tolist() == [[2.0]]
    assert not list(cache.iterdir())


def test_freed_memory_is_given_back() -> None:
    code = """
from pathlib import Path
from ai102_runtime.openvino.free_memory import give_back
def mib(): return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20
blocks = [bytes(64 << 10) + b"1" for _ in range(2000)]
del blocks[:-1]  # the last one holds the end of the heap
before = mib()
give_back()
print(before - mib())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100


def test_the_converter_of_models_is_not_imported_and_stays_importable() -> None:
    code = """
import sys, ai102_runtime.openvino.library
assert not any(name.startswith(("openvino.tools.ovc", "telemetry")) for name in sys.modules)
import openvino.tools.ovc
assert sys.modules["openvino_telemetry"] is None
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_cache_keeps_its_size_by_removing_what_was_not_used_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_cache, "MOST_BYTES", 250)
    for place, key in enumerate("abcd"):
        compiled_cache.put(tmp_path, key, lambda entry: (entry / "model.blob").write_bytes(bytes(100)) and None)
        os.utime(tmp_path / key, (place, place))
        compiled_cache.entry(tmp_path, "a")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "d"]


def test_without_a_place_for_a_cache_a_model_is_compiled(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    one = np.ones((1, 1), np.float32)
    assert engine.opened(file, config(), Instance()).run(["sum"], {"a": one, "b": one})[0].tolist() == [[2.0]]


@pytest.mark.parametrize(("of_model", "of_cache", "is_kept"), [("tmpfs", "ext4", False), ("tmpfs", "tmpfs", True)])
def test_a_model_that_was_decrypted_into_memory_is_not_kept_on_a_disk(
    file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, of_model: str, of_cache: str, is_kept: bool
) -> None:
    mounts = file.with_name("mountinfo")
    places = (("/", "overlay"), (cache.parent, of_cache), (file.parent, of_model))
    mounts.write_text("".join(f"1 1 0:1 / {place} rw - {kind} none rw\n" for place, kind in places))
    monkeypatch.setattr(memory, "MOUNTS", mounts)
    one = np.ones((1, 1), np.float32)
    assert engine.opened(file, config(), Instance()).run(["sum"], {"a": one, "b": one})[0].tolist() == [[2.0]]
    assert len(list(cache.iterdir())) == is_kept


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [((1, 2), (1, 3), "Argument shapes are inconsistent, in a step"), ((1, 2), None, "input 'b' is missing")],
)
def test_shapes_that_do_not_go_together_are_refused_before_they_are_run(
    file: Path, cache: Path, a: tuple[int, ...], b: tuple[int, ...] | None, reason: str
) -> None:
    opened = engine.opened(file, config(), Instance())
    feeds = {name: np.ones(shape, np.float32) for name, shape in (("a", a), ("b", b)) if shape is not None}
    for _ in range(2):
        with pytest.raises(engine.InputsError, match=reason) as caught:
            opened.run(["sum"], feeds)
        assert opened.is_clients_fault(caught.value)


def test_the_arrays_of_a_run_outlive_the_next(file: Path, cache: Path) -> None:
    opened = engine.opened(file, config(), Instance())
    ones = np.ones((1, 2), np.float32)
    (first,) = opened.run(["sum"], {"a": ones, "b": ones})
    opened.run(["sum"], {"a": ones * 5, "b": ones})
    assert first.tolist() == [[2.0, 2.0]]


def test_shapes_inside_the_graph_are_checked_without_its_weights(tmp_path: Path, cache: Path) -> None:
    """A product with a large constant: the copy without weights refuses what the model would."""
    weights = np.zeros((100, 50), np.float32)
    product = model(
        [node("MatMul", ["x", "weights"], ["y"])],
        [tensor("x", "FP32", ["n", "m"])],
        [tensor("y", "FP32", ["n", 50])],
        [numpy_helper.from_array(weights, "weights")],
    )
    (tmp_path / "model.onnx").write_bytes(product.SerializeToString())
    opened = engine.opened(tmp_path / "model.onnx", config(), Instance())
    assert opened.run(["y"], {"x": np.ones((2, 100), np.float32)})[0].shape == (2, 50)
    with pytest.raises(engine.InputsError):
        opened.run(["y"], {"x": np.ones((2, 99), np.float32)})
    assert [tensor.name for tensor in opened.signature.inputs] == ["x"]


@pytest.mark.parametrize("width", [1, 50])  # the larger table is no part of the copy without weights
def test_an_index_beyond_its_table_is_refused_as_onnx_runtime_does(tmp_path: Path, cache: Path, width: int) -> None:
    table = np.arange(100 * width, dtype=np.float32).reshape(100, width)
    lookup = model(
        [node("Gather", ["table", "ids"], ["y"])],
        [tensor("ids", "INT64", ["n"])],
        [tensor("y", "FP32", ["n", width])],
        [numpy_helper.from_array(table, "table")],
    )
    (tmp_path / "model.onnx").write_bytes(lookup.SerializeToString())
    for _ in range(2):  # compiled, and as it was compiled before
        opened = engine.opened(tmp_path / "model.onnx", config(), Instance())
        for ids in ([0, 99], [-100, -1], []):
            assert np.array_equal(opened.run(["y"], {"ids": np.array(ids, np.int64)})[0], table[ids])
        for ids in ([0, 100], [-101, 5]):
            with pytest.raises(engine.InputsError, match=r"input 'ids' has -?10[01], out of data bounds") as caught:
                opened.run(["y"], {"ids": np.array(ids, np.int64)})
            assert opened.is_clients_fault(caught.value)


def test_the_known_shapes_are_bounded(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST_KNOWN_SHAPES", 3)
    opened = engine.opened(file, config(), Instance())
    for size in range(1, 8):
        opened.run(["sum"], {name: np.ones((1, size), np.float32) for name in "ab"})
    assert len(opened.known_shapes) == 3


def test_an_instance_on_a_gpu_is_refused(file: Path) -> None:
    with pytest.raises(ModelRefusedError, match="of KIND_GPU, and OpenVINO computes on the CPU: write KIND_CPU"):
        engine.opened(file, config(), Instance("GPU", 0))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "Check 'TRShape::broadcast_merge_into(a)' failed at src/core/eltwise_shape_inference.hpp:26:\n"
            "While validating node 'opset1::Subtract difference (opset1::Parameter a[0]:f32[1,2])'\n"
            "Argument shapes are inconsistent.\n",
            "Argument shapes are inconsistent, in a step Subtract",
        ),
        (
            "Exception from src/inference/src/cpp/core.cpp:117:\nNotFound: no /srv/models/x.bin here.\n\n",
            "NotFound: no (path) here",
        ),
        ("Exception from src/inference/src/cpp/core.cpp:117:\n", "it gives no reason"),
    ],
)
def test_a_reason_has_no_place_in_it(message: str, reason: str) -> None:
    assert model_file.plain_reason(RuntimeError(message)) == reason
