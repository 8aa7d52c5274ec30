"""The component model-copy copies models out of an image that holds no program."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.kustomized import K8S

PATCH = K8S / "components" / "model-copy" / "triton.patch.yaml"


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_models_are_copied_by_programs_that_another_image_lends(tmp_path: Path) -> None:
    lending, copying = yaml.safe_load(PATCH.read_text(encoding="utf-8"))["spec"]["template"]["spec"]["initContainers"]
    image, programs, copy = tmp_path / "image", tmp_path / "image" / "programs", tmp_path / "image" / "copy"
    for folder in (programs, copy, image / "digits" / "1", image / "no-model"):
        folder.mkdir(parents=True)
    (image / "digits" / "config.pbtxt").write_text("a", encoding="utf-8")
    (image / "digits" / "1" / "model.onnx").write_text("b", encoding="utf-8")
    (script,) = lending["args"]
    subprocess.run([*lending["command"], script.replace("/programs", str(programs))], check=True, timeout=30)
    subprocess.run(["chroot", str(image), *copying["command"], *copying["args"]], check=True, timeout=30)
    assert sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()) == [
        "digits/1/model.onnx",
        "digits/config.pbtxt",
    ]
