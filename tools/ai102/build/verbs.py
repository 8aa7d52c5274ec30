"""The road from weights to model_repository: the order of the steps, and what each is made from.

Every step walks the ones before it first; one whose inputs did not change costs a few hashes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from numpy.typing import NDArray

from ai102 import artifact
from ai102.build import in_one_process, warmup
from ai102.build.versions import incoming
from ai102.build.workspace import Workspace as Workspace
from ai102.configs import configure
from ai102.contract import Network, Precision, Recipe
from ai102.errors import BudgetError, UserError
from ai102.progress import Reporter
from ai102.samples.examples import examples_for
from ai102.samples.read import Samples, batches_of_items, calibration_and_test, read_samples, tensors_of_items

if TYPE_CHECKING:
    from ai102.int8.judge import Verdict
    from ai102.int8.trial import Bench

PARITY_SAMPLES = 16


def export(workspace: Workspace, name: str, report: Reporter) -> Path:
    """Weights to FP32 ONNX."""
    from ai102.weights import export as exporter

    network, source = workspace.network(name), workspace.source(name)
    file = workspace.build(name) / "fp32.onnx"
    made_from = {
        "weights": source.identity,
        "tensors": repr((network.inputs, network.outputs)),
        "exporter": artifact.sha256_of_modules("weights/export.py", "weights/hf/sentence_embedder.py"),
        **artifact.versions("torch", "onnx", "onnxscript", "transformers"),
    }

    def write(temporary: Path) -> Mapping[str, object]:
        if source.write_onnx:
            with report.step(f"{name}: ONNX file"):
                source.write_onnx(temporary)
            return {}
        assert source.module is not None
        with report.step(f"{name}: weights") as progress:
            module = source.module(progress)
        with report.step(f"{name}: export to ONNX"):
            tensors = _parity_inputs(workspace, network, source.tokenizer_file)
            return {"max_abs_difference": exporter.onnx_from_torch(module, network, tensors, temporary)}

    if artifact.make(file, made_from, write):
        difference = artifact.facts_of(file).get("max_abs_difference")
        told = (
            ""
            if difference is None
            else (f", differs from PyTorch by at most {difference:.1e} (allowed {exporter.MAX_ABS_DIFFERENCE:.0e})")
        )
        report.say(f"{name}: fp32.onnx {artifact.megabytes(file)}{told}")
    return file


def _parity_inputs(workspace: Workspace, network: Network, tokenizer_file: Path | None) -> dict[str, NDArray[Any]]:
    """Inputs to compare ONNX with PyTorch on: real ones where there is a calibration set."""
    if network.calibration_set is None:
        return examples_for(network, tokenizer_file, PARITY_SAMPLES)
    samples = read_samples(workspace.sets, network.calibration_set, "calibration")
    return tensors_of_items(network, samples.items[:PARITY_SAMPLES], tokenizer_file)


def calibrate(workspace: Workspace, name: str, report: Reporter, recipe: Recipe | None = None) -> Path:
    """The range of every activation, found on the calibration split and kept under calibration/ranges.

    By the method of the network's own recipe unless another is given; `quantize` wants the former.
    """
    from ai102.int8 import ranges as calibrator

    network, source = workspace.network(name), workspace.source(name)
    samples, _ = _splits(workspace, name)
    fp32, file = export(workspace, name, report), workspace.ranges(name)
    recipe = recipe or recipe_of(workspace, name)[0]
    made_from = {
        "fp32 file": artifact.sha256_of_file(fp32),
        "set": samples.sha256,
        "method": f"{recipe.method} {recipe.percentile}",
        "calibrator": artifact.sha256_of_modules("int8/ranges.py", "weights/graph.py"),
        **artifact.versions("onnx", "onnxruntime"),
    }

    def write(temporary: Path) -> None:
        with report.step(f"{name}: calibrate on {len(samples.items)} samples") as progress:
            batches = batches_of_items(network, samples.items, source.tokenizer_file)
            calibrator.find_ranges(
                fp32,
                (tensors for _, tensors in batches),
                sample_count=len(samples.items),
                set_sha256=samples.sha256,
                found_on=datetime.now(UTC).date(),
                method=recipe.method,
                percentile=recipe.percentile,
                progress=progress,
            ).save(temporary)

    if artifact.make(file, made_from, write):
        report.say(f"{name}: {file.relative_to(workspace.root)} from {len(samples.items)} samples ({recipe.method})")
    return file


def search(workspace: Workspace, name: str, report: Reporter) -> Path:
    """The recipe that keeps to the budget with the most in INT8: calibration/recipes/NET.toml.

    Raises BudgetError when no recipe does.
    """
    from ai102.int8 import recipes
    from ai102.int8.for_onnxruntime import this_cpu

    file = recipes.file_for_search(workspace.recipe_file(name, this_cpu()), name, this_cpu())
    recipes.search(_bench(workspace, name, report), file, report)
    return file


def sensitivity(workspace: Workspace, name: str, report: Reporter) -> Path:
    """What each layer costs in INT8, found on the calibration split: build/NET/sensitivity.json."""
    from ai102.int8 import recipes

    return recipes.sensitivity(_bench(workspace, name, report), recipe_of(workspace, name)[0], report)


def recipe_of(workspace: Workspace, name: str) -> tuple[Recipe, str]:
    """How the network is quantized, and who says so."""
    from ai102.int8 import recipes
    from ai102.int8.for_onnxruntime import this_cpu

    return recipes.recipe_of(workspace.network(name), workspace.recipe_file(name, this_cpu()))


def _bench(workspace: Workspace, name: str, report: Reporter) -> Bench:
    from ai102.int8.trial import Bench

    network, source = workspace.network(name), workspace.source(name)
    calibration, _ = _splits(workspace, name)
    fp32 = export(workspace, name, report)
    return Bench(name, network, fp32, source.tokenizer_file, calibration, workspace.build(name))


def _splits(workspace: Workspace, name: str) -> tuple[Samples, Samples]:
    """The network's calibration and test samples."""
    calibration_set = workspace.network(name).calibration_set
    if calibration_set is None:
        raise UserError(f"{name} has no calibration_set in models.toml: name one, and a budget, to make INT8")
    return calibration_and_test(workspace.sets, calibration_set)


def quantize(workspace: Workspace, name: str, report: Reporter) -> Path:
    """Ranges to INT8 ONNX, judged on held-out data and timed against FP32.

    Raises BudgetError when it loses more than the budget allows: nothing is written then, what an earlier build
    put into model_repository is taken out, and the layers that are to blame are told.
    """
    from ai102.int8 import for_onnxruntime, gate
    from ai102.int8.ranges import Ranges

    network, source = workspace.network(name), workspace.source(name)
    ranges_file = calibrate(workspace, name, report)
    fp32, file = export(workspace, name, report), workspace.build(name) / "int8.onnx"
    calibration, test = _splits(workspace, name)
    recipe, recipe_from = recipe_of(workspace, name)
    cpu = for_onnxruntime.this_cpu()
    made_from = {
        "fp32 file": artifact.sha256_of_file(fp32),
        "ranges": artifact.sha256_of_file(ranges_file),
        "recipe": repr(recipe),
        "budget": repr(network.budget),
        "test split": test.sha256,
        "batch": str(network.batching.max_batch_size),
        "cpu": cpu,
        "emitter": artifact.sha256_of_modules(
            "weights/graph.py", "int8/prepare.py", "int8/smooth.py", "int8/for_onnxruntime.py"
        ),
        "gate": artifact.sha256_of_modules("int8/gate.py", "int8/judge.py", "int8/stopwatch.py"),
        **artifact.versions("onnx", "onnxruntime"),
    }

    def write(temporary: Path) -> Mapping[str, object]:
        with report.step(f"{name}: quantize"):
            ranges = Ranges.load(ranges_file, fp32)
            graph = for_onnxruntime.int8_from_ranges(fp32, ranges, recipe, temporary, cpu=cpu)
        with report.step(f"{name}: judge on {len(test.items)} held-out samples"):
            verdict = gate.accuracy(network, test, fp32, temporary, source.tokenizer_file)
        if not verdict.passed:
            _refuse(workspace, name, verdict, recipe, report)
        with report.step(f"{name}: time INT8 against FP32"):
            speed, reason = gate.speed(network, calibration, fp32, temporary, source.tokenizer_file)
        return {
            "summary": f"{verdict.summary}; {speed}",
            **verdict.facts,
            "cpu": graph.cpu,
            "int8_layers": len(graph.int8_layers),
            "float_layers": list(graph.float_layers),
            "recipe": recipe.model_dump(),
            "recipe_from": recipe_from,
            "speed": speed.as_dict(),
            "served_precision": "fp32" if reason else "int8",
            "reason": reason,
        }

    if artifact.make(file, made_from, write):
        facts = artifact.facts_of(file)
        report.say(f"{name}: int8.onnx {artifact.megabytes(file)}, {facts['summary']}")
        if facts["reason"]:
            report.say(f"{name}: {facts['reason']}; {name}_int8 will serve the FP32 graph")
    return file


def _refuse(workspace: Workspace, name: str, verdict: Verdict, recipe: Recipe, report: Reporter) -> NoReturn:
    from ai102.int8 import gate, recipes

    model = f"{name}_int8"
    withdrawn = [gate.withdraw(folder) for folder in workspace.builds(name).installed(model).values()]
    if any(withdrawn):
        in_one_process.withdraw(workspace, name, model)
        broken = ", ".join(gate.ensembles_with(workspace.contract, model)) or "none"
        report.say(
            f"{name}: the {model} of an earlier build was taken out of {workspace.repository.name}, {name}_fp32 "
            f"stays; ensembles that cannot load without it: {broken}"
        )
    advice = ""
    if verdict.blames_int8:
        recipes.say_ranking(_bench(workspace, name, report), recipe, report)
        if workspace.network(name).quantization is None:
            advice = f"; `ai102 quantize {name} --search` looks for a recipe that keeps to it"
    raise BudgetError(f"{name}: {'; '.join(verdict.complaints)}; nothing was written{advice}")


def engine(workspace: Workspace, name: str, report: Reporter) -> None:
    """Everything the network's models in model_repository need to start; a new build is a new version.

    Where FP32 wins, the INT8 model's folder gets the FP32 file, so that ensembles keep their steps; its manifest
    says so.
    """
    from ai102.build import install

    network, source, builds = workspace.network(name), workspace.source(name), workspace.builds(name)
    number = builds.next_number()
    for precision in network.precisions:
        file = _BUILDERS[precision](workspace, name, report)
        facts = artifact.facts_of(file)
        served = facts.get("served_precision", precision)
        if served != precision:
            file = export(workspace, name, report)
        model = f"{name}_{precision}"
        folder = builds.folder_for(model, "model.onnx", artifact.sha256_of_file(file), number)
        if folder is None:
            _say_rolled_back(model, name, report)
            continue
        with incoming(folder) as place:
            changed = install.install(file, network, place, {**facts, "precision": served})
        if changed:
            note = "" if served == precision else f", the {served} graph ({facts['reason']})"
            report.say(f"{name}: {folder.relative_to(workspace.root)}/model.onnx {artifact.megabytes(file)}{note}")
        warmup.write(folder.parent, network, _warm_items(workspace, network), source.tokenizer_file)
    if source.tokenizer_file:
        _install_tokenizer(workspace, name, source.tokenizer_file, number, report)
    for ensemble in in_one_process.follow(workspace, name):
        report.say(f"{name}: {ensemble} runs this build in its own process")
    for folder in builds.prune(network.versions.keep):
        report.say(f"{name}: removed {folder.relative_to(workspace.root)}, versions.keep is {network.versions.keep}")


def _warm_items(workspace: Workspace, network: Network) -> tuple[bytes, ...]:
    if network.warmup is None or network.calibration_set is None:
        return ()
    return read_samples(workspace.sets, network.calibration_set, "calibration").items[:PARITY_SAMPLES]


def _install_tokenizer(workspace: Workspace, name: str, tokenizer: Path, number: int, report: Reporter) -> None:
    """The checkpoint's tokenizer beside the Python model that runs it; a version of its own holds a copy of both."""
    model, sha256 = f"{name}_tokenize", artifact.sha256_of_file(tokenizer)
    builds = workspace.builds(name)
    installed = builds.installed(model)
    folder = builds.folder_for(model, "tokenizer.json", sha256, number if installed else 1)
    if folder is None:
        _say_rolled_back(model, name, report)
        return

    def write(temporary: Path) -> None:
        shutil.copyfile(tokenizer, temporary)

    with incoming(folder) as place:
        artifact.make(place / "tokenizer.json", {"checkpoint": sha256}, write)
        if folder.name != "1":  # `ai102 configure` writes that one's
            for path, text in configure.files_from_contract(workspace.contract).items():
                if path.startswith(f"{model}/1/"):
                    artifact.write_text(place / Path(path).name, text)


def _say_rolled_back(model: str, name: str, report: Reporter) -> None:
    report.say(f"{model}: this build was rolled back and is not served; `ai102 rollback {name} --undo` brings it back")


_BUILDERS: dict[Precision, Callable[[Workspace, str, Reporter], Path]] = {"fp32": export, "int8": quantize}
