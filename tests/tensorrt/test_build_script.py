"""The printed docker command and Kubernetes Job are well-formed and build the same plan."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from ai102.errors import UserError
from ai102.tensorrt.build_script import docker_command, kubernetes_job, steps_in_image

IMAGE = "registry.example.com/tritonserver:26.07-py3"
ONNX = "build/digits/tensorrt.onnx"


def test_the_steps_are_a_shell_script_that_reads_the_version_from_the_image(tmp_path: Path) -> None:
    steps = steps_in_image("digits", ONNX)
    subprocess.run(["bash", "-n", "-c", steps], check=True)
    python = tmp_path / "python3"  # replaces the image's: it has no module tensorrt, and prints its arguments
    python.write_text('#!/bin/bash\n[ "$1" != -c ] || exit 1\necho "$PYTHONPATH $*"\n')
    python.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CUDA_VERSION": "13.0.2", "TRT_VERSION": "11.1.0.106+cuda13.0"}
    done = subprocess.run(["bash", "-c", steps], env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "tensorrt-cu13-bindings==11.1.0.106" in lines[0]
    assert lines[-1] == f"/workspace/tools -m ai102 engine build digits --onnx {ONNX}"


def test_the_docker_command_is_one_line_of_the_shell() -> None:
    words = shlex.split(docker_command("digits", ONNX, IMAGE, Path("/home/me/my repository")))
    assert words[:5] == ["docker", "run", "--rm", "--gpus", "device=0"]
    assert "/home/me/my repository:/workspace" in words
    assert words[-4:] == [IMAGE, "bash", "-c", steps_in_image("digits", ONNX)]


@pytest.mark.parametrize("gpu", [None, "NVIDIA-H200"])
def test_the_job_is_yaml_with_the_same_steps(gpu: str | None) -> None:
    job = yaml.safe_load(kubernetes_job("my_net", ONNX, IMAGE, "models", gpu))
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (job["kind"], job["metadata"]["name"], pod["restartPolicy"]) == ("Job", "build-my-net-engine", "Never")
    assert container["image"] == IMAGE
    assert container["command"] == ["bash", "-c", steps_in_image("my_net", ONNX) + "\n"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert pod.get("nodeSelector") == ({"nvidia.com/gpu.product": gpu} if gpu else None)
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "models"}


def test_invalid_names_are_refused() -> None:
    for arguments in (("a b", ONNX, IMAGE, "c"), ("a", ONNX, "an image", "c"), ("a", ONNX, IMAGE, "c\nd")):
        with pytest.raises(UserError):
            kubernetes_job(*arguments)
