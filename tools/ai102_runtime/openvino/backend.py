"""Triton's backend `openvino` in Python, for where Triton's own is not installed: serves OpenVINO's and ONNX files."""

from collections.abc import Mapping

import triton_python_backend_utils as pb_utils  # only inside Triton

from ai102_runtime.engine.backend import ServedFile
from ai102_runtime.openvino.engine import KIND, OpenVino
from ai102_runtime.openvino.model_file import version


class TritonPythonModel(ServedFile):
    """One instance of one model on OpenVINO."""

    engine_kind = KIND

    def initialize(self, args: Mapping[str, str]) -> None:
        super().initialize(args)
        assert isinstance(self.engine, OpenVino)
        threads = self.engine.compiled.get_property("INFERENCE_NUM_THREADS")
        precision = self.engine.compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        pb_utils.Logger.log_info(
            f"model {args['model_name']!r}: OpenVINO {version()}, {threads} thread(s) an instance, {precision} hint"
        )
