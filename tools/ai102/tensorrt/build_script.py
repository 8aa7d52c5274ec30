"""The docker command and the Kubernetes Job that build a plan inside the serving image, on the serving GPU.

The functions return text; they start no container. The commands have not run inside NVIDIA's image.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from ai102.errors import UserError

FOLDER = "/workspace"
# Packages that `ai102 engine build --onnx` imports; onnx reads which layers are meant to be INT8.
_PACKAGES = ("numpy", "onnx", "pydantic", "rich", "typer")


def steps_in_image(network: str, onnx_file: str) -> str:
    """The shell commands inside the image, which has TensorRT's libraries but may lack its Python module.

    The module's version is that of the image's libraries: a plan loads only in the TensorRT version that built it.
    """
    build = shlex.join(["python3", "-m", "ai102", "engine", "build", network, "--onnx", onnx_file])
    bindings = '"tensorrt-cu${CUDA_VERSION%%.*}-bindings==${TRT_VERSION%%[-+]*}"'
    return "\n".join(
        (
            "set -eu",
            "python3 -c 'import tensorrt' 2>/dev/null || python3 -m pip install --quiet --no-deps \\",
            f"  {bindings}",
            f"python3 -m pip install --quiet --constraint {FOLDER}/constraints.txt {' '.join(_PACKAGES)}",
            f"PYTHONPATH={FOLDER}/tools exec {build}",
        )
    )


def docker_command(network: str, onnx_file: str, image: str, root: Path) -> str:
    """One command for a machine with a GPU and NVIDIA's container toolkit; `root` is this repository there."""
    _check(network, image)
    arguments = [
        "docker", "run", "--rm", "--gpus", "device=0", "--volume", f"{root}:{FOLDER}", "--workdir", FOLDER,
        image, "bash", "-c", steps_in_image(network, onnx_file),
    ]  # fmt: skip
    return shlex.join(arguments)


def kubernetes_job(network: str, onnx_file: str, image: str, claim: str, gpu: str | None = None) -> str:
    """A Kubernetes Job's YAML. `claim` is the PersistentVolumeClaim of this repository; `gpu` is a value of the node
    label nvidia.com/gpu.product, such as NVIDIA-H200, for a cluster with several kinds."""
    _check(network, image)
    for option, value in (("--claim", claim), ("--gpu", gpu or "any")):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
            raise UserError(f"{option} is {value!r}: write a name of letters, digits, dots and dashes")
    script = "\n".join(f"              {line}" for line in steps_in_image(network, onnx_file).splitlines())
    selector = f"      nodeSelector:\n        nvidia.com/gpu.product: {json.dumps(gpu)}\n" if gpu else ""
    # A quoted JSON string is a YAML string.
    return f"""\
# Printed by `ai102 engine build-script {network}`.
apiVersion: batch/v1
kind: Job
metadata:
  name: build-{network.replace("_", "-").lower()}-engine
spec:
  backoffLimit: 0
  ttlSecondsAfterFinished: 86400
  template:
    spec:
      restartPolicy: Never
{selector}      containers:
        - name: build
          image: {json.dumps(image)}
          workingDir: {FOLDER}
          command:
            - bash
            - -c
            - |
{script}
          resources:
            limits:
              nvidia.com/gpu: 1
          volumeMounts:
            - name: repository
              mountPath: {FOLDER}
      volumes:
        - name: repository
          persistentVolumeClaim:
            claimName: {json.dumps(claim)}
"""


def _check(network: str, image: str) -> None:
    if not re.fullmatch(r"[A-Za-z]\w*", network):
        raise UserError(f"{network!r} is not the name of a network")
    if not re.fullmatch(r"[\w.:/@-]+", image):
        raise UserError(f"--image is {image!r}: write one like registry.example.com/tritonserver:26.07-py3")
