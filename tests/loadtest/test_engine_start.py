"""What the comparison of starts reads from Triton's log, and the copy that it makes of a repository."""

import json
from pathlib import Path

from ai102_runtime.engine.cpu import this_cpu
from loadtest.engine_start import copy_for_onnxruntime, models_on_openvino, seconds_from_log, shown

LOG = """\
I1129 23:59:59.500000 7 model_lifecycle.cc:472] "loading: minilm_int8:1"
I1129 23:59:59.750000 7 python_be.cc:2249] "TRITONBACKEND_ModelInstanceInitialize: minilm_int8_0_0 (CPU device 0)"
I1129 23:59:59.800000 7 python_be.cc:2249] "TRITONBACKEND_ModelInstanceInitialize: digits_int8_0_0 (CPU device 0)"
I1129 00:00:00.250000 7 model_lifecycle.cc:839] "successfully loaded 'digits_int8'"
I1129 00:00:01.500000 7 model_lifecycle.cc:839] "successfully loaded 'minilm_int8'"
I1129 00:00:01.600000 7 model_lifecycle.cc:839] "successfully loaded 'steps'"
"""


def test_a_model_loads_from_its_process_to_the_end_of_its_warm_up_even_at_midnight() -> None:
    seconds = seconds_from_log(LOG.splitlines())
    assert {name: round(value, 3) for name, value in seconds.items()} == {"digits_int8": 0.45, "minilm_int8": 1.75}


def test_the_copy_chooses_nothing_and_the_repository_stays(tmp_path: Path) -> None:
    file = tmp_path / "repository" / "embed_text" / "1" / "minilm_int8" / "model.onnx"
    file.parent.mkdir(parents=True)
    file.touch()
    file.with_name("model.engines.json").write_text(
        json.dumps({this_cpu(): {"engine": "openvino", "file": "model.onnx"}})
    )
    copy = copy_for_onnxruntime(tmp_path / "repository", tmp_path / "copy")
    assert models_on_openvino(copy) == []
    assert models_on_openvino(tmp_path / "repository") == ["embed_text"]


def test_a_median_is_shown_with_its_range() -> None:
    assert shown([3.0, 1.0, 2.0], 1) == "2.0 (1.0-3.0)"
