"""The steps for TensorRT, as verbs on a workspace: a graph of its own, and from that a plan on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.build.lock import building
from ai102.build.versions import incoming
from ai102.build.workspace import Workspace
from ai102.errors import UserError
from ai102.progress import Reporter
from ai102.samples.read import tensors_of_items
from ai102.tensorrt import build as tensorrt
from ai102.tensorrt import gpu

# Samples that a plan on a GPU is compared on.
COMPARED = 32


def quantize(workspace: Workspace, name: str, report: Reporter) -> Path:
    """Ranges to the Q/DQ graph that TensorRT compiles: build/NET/tensorrt.onnx. Needs neither TensorRT nor a GPU.

    Raises BudgetError, and writes nothing, when the graph as written loses more than the budget allows.
    """
    from ai102.build.order import Order

    with building(workspace.root, report.say):
        return Order(workspace, name, report).tensorrt()


def per_capability(workspace: Workspace) -> dict[str, dict[str, str]]:
    """By model: the plan of each compute capability, for the models that have such plans."""
    files: dict[str, dict[str, str]] = {}
    for name in workspace.contract.networks:
        builds = workspace.builds(name)
        files |= {m: tensorrt.cc_model_filenames(builds.newest(m)) for m in builds.models if builds.installed(m)}
    return {model: plans for model, plans in files.items() if plans}


def needed_tensorrt() -> Any:
    """The module tensorrt. Raises UserError where it is not installed."""
    trt = gpu.tensorrt_module()
    if trt is None:
        raise UserError("TensorRT is not installed here: build where it is served, by `ai102 engine build-script`")
    return trt


def build(
    workspace: Workspace, name: str, onnx_file: Path, report: Reporter, *, per_compute_capability: bool = False
) -> None:
    """`onnx_file` to a plan in model_repository, by the TensorRT and for the GPU of this machine.

    Raises UserError when one of them is missing, and with every error of TensorRT's.
    """
    trt = needed_tensorrt()
    with building(workspace.root, report.say):
        builds, model, sha256 = workspace.builds(name), f"{name}_int8", artifact.sha256_of_file(onnx_file)
        machine = gpu.this_machine()
        file = tensorrt.plan_filename(str(machine.compute_capability)) if per_compute_capability else "model.plan"
        folder = builds.folder_for(model, file, sha256, builds.next_number())
        if folder is None:
            report.say(f"{model}: this plan was rolled back and is not built again; `ai102 rollback {name} --undo`")
            return
        with report.step(f"{name}: TensorRT builds the plan") as progress, incoming(folder) as place:
            changed = tensorrt.install(
                trt,
                name,
                onnx_file,
                workspace.network(name),
                place,
                machine,
                per_compute_capability=per_compute_capability,
                timing_cache=workspace.build(name) / tensorrt.TIMING_CACHE,
                progress=progress,
            )
    if changed:
        report.say(f"{name}: {folder.relative_to(workspace.root)} holds a plan; `ai102 configure --target tensorrt`")


def verify_on_gpu(workspace: Workspace, name: str, report: Reporter) -> bool:
    """Build and run the plan on this machine's GPU and compare it with ONNX Runtime; returns whether they agree.

    Raises UserError where there is no GPU or no TensorRT.
    """
    from ai102.build.order import Order
    from ai102.tensorrt import verify_gpu

    verify_gpu.needed(gpu.this_machine())
    with building(workspace.root, report.say):
        order = Order(workspace, name, report)
        file, subject = order.tensorrt(), order.subject
        count = min(COMPARED, subject.network.batching.max_batch_size)
        inputs = tensors_of_items(subject.network, order.splits[1].items[:count], subject.tokenizer_file)
        with report.step(f"{name}: TensorRT builds and runs the plan") as progress:
            folder = workspace.build(name) / "plan"
            verification = verify_gpu.verify(name, subject.network, file, inputs, folder, progress)
    for line in verification.lines():
        report.say(f"{name}: {line}")
    return verification.passed
