"""The small networks that the tests of calibration and of every emitter share."""

from pathlib import Path

import pytest

from tests.tiny_nets import residual_cnn, transformer_block


@pytest.fixture
def cnn(tmp_path: Path) -> Path:
    return residual_cnn(tmp_path / "cnn.onnx")


@pytest.fixture
def block(tmp_path: Path) -> Path:
    return transformer_block(tmp_path / "block.onnx")
