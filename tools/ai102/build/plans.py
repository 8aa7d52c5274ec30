"""The TensorRT leg of the road: the same ranges and recipe to a graph of its own, and that to a plan on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.build.versions import incoming
from ai102.build.workspace import Workspace
from ai102.errors import BudgetError, UserError
from ai102.progress import Reporter
from ai102.samples.read import read_samples, tensors_of_items
from ai102.tensorrt import build as tensorrt
from ai102.tensorrt import gpu

# Samples that a plan on a GPU is compared on.
COMPARED = 32


def qdq_file(workspace: Workspace, name: str) -> Path:
    """Where the graph for TensorRT is made."""
    return workspace.build(name) / "tensorrt.onnx"


def quantize(workspace: Workspace, name: str, report: Reporter) -> Path:
    """Ranges to the Q/DQ graph that TensorRT compiles; needs neither TensorRT nor a GPU.

    Raises BudgetError, and writes nothing, when the graph as written loses more than the budget allows.
    """
    from ai102.build import verbs
    from ai102.int8 import gate, recipes
    from ai102.int8.for_tensorrt import qdq_from_ranges
    from ai102.int8.ranges import Ranges

    network = workspace.network(name)
    recipe, _ = recipes.recipe_of(network, workspace.recipe_file(name, "tensorrt"))
    ranges_file = verbs.calibrate(workspace, name, report, recipe)
    fp32 = verbs.export(workspace, name, report)
    assert network.calibration_set is not None  # calibrate refuses a network without one
    test = read_samples(workspace.sets, network.calibration_set, "test")
    file, precision = qdq_file(workspace, name), network.tensorrt.float_precision
    made_from = {
        "fp32 file": artifact.sha256_of_file(fp32),
        "ranges": artifact.sha256_of_file(ranges_file),
        "recipe": repr(recipe),
        "float_precision": precision,
        "emitter": artifact.sha256_of_modules(
            "weights/graph.py", "int8/prepare.py", "int8/for_tensorrt.py", "int8/smooth.py"
        ),
        "budget": repr(network.budget),
        "test split": test.sha256,
        "gate": artifact.sha256_of_modules("int8/gate.py", "int8/judge.py"),
        **artifact.versions("onnx", "onnxruntime"),
    }

    def write(temporary: Path) -> Mapping[str, object]:
        with report.step(f"{name}: quantize for TensorRT"):
            graph = qdq_from_ranges(fp32, Ranges.load(ranges_file, fp32), recipe, temporary, float_precision=precision)
        with report.step(f"{name}: judge it on {len(test.items)} held-out samples"):
            tokenizer = workspace.source(name).tokenizer_file
            verdict = gate.accuracy(network, test, fp32, temporary, tokenizer, as_written=True)
        if not verdict.passed:
            raise BudgetError(f"{name} for TensorRT: {'; '.join(verdict.complaints)}; nothing was written")
        return {
            "summary": verdict.summary,
            "int8_layers": graph.int8_layers,
            "float_layers": graph.float_layers,
            "float_precision": precision,
        }

    if artifact.make(file, made_from, write):
        told = artifact.facts_of(file)["summary"]
        report.say(f"{name}: {file.relative_to(workspace.root)} {artifact.megabytes(file)} for TensorRT, {told}")
    return file


def per_capability(workspace: Workspace) -> dict[str, dict[str, str]]:
    """By model: the plan of each compute capability, for the models that have such plans."""
    named: dict[str, dict[str, str]] = {}
    for name in workspace.contract.networks:
        builds = workspace.builds(name)
        named |= {m: tensorrt.cc_model_filenames(builds.newest(m)) for m in builds.models if builds.installed(m)}
    return {model: plans for model, plans in named.items() if plans}


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
    from ai102.tensorrt import verify_gpu

    verify_gpu.needed(gpu.this_machine())
    network, source = workspace.network(name), workspace.source(name)
    file = quantize(workspace, name, report)
    assert network.calibration_set is not None
    count = min(COMPARED, network.batching.max_batch_size)
    items = read_samples(workspace.sets, network.calibration_set, "test").items[:count]
    inputs = tensors_of_items(network, items, source.tokenizer_file)
    with report.step(f"{name}: TensorRT builds and runs the plan") as progress:
        seen = verify_gpu.verify(name, network, file, inputs, workspace.build(name) / "plan", progress)
    for line in seen.lines():
        report.say(f"{name}: {line}")
    return seen.passed
