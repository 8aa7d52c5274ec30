"""The road from weights to model_repository: the order of the steps, and what each is made from.

Every step walks the ones before it first; one whose inputs did not change costs a few hashes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from ai102 import artifact, networks, spec
from ai102.errors import BudgetError, UserError
from ai102.networks.source import Source
from ai102.progress import Reporter
from ai102.samples import batches_of_items, read_samples, tensors_of_items
from ai102.spec import Contract, Network, Precision

PARITY_SAMPLES = 16


@dataclass(frozen=True)
class Workspace:
    """A contract and the folders around it."""

    root: Path
    contract: Contract

    @classmethod
    def of(cls, contract_file: Path) -> Workspace:
        """Raises UserError when the contract cannot be read."""
        return cls(contract_file.parent, spec.load(contract_file))

    @property
    def repository(self) -> Path:
        return self.root / "model_repository"

    @property
    def sets(self) -> Path:
        return self.root / "calibration" / "sets"

    def build(self, name: str) -> Path:
        return self.root / "build" / name

    def ranges(self, name: str) -> Path:
        return self.root / "calibration" / "ranges" / f"{name}.json"

    def network(self, name: str) -> Network:
        """Raises UserError when there is no network of that name."""
        if name not in self.contract.networks:
            raise UserError(f"no network {name} in models.toml; there are {', '.join(self.contract.networks)}")
        return self.contract.networks[name]

    def source(self, name: str) -> Source:
        return networks.find(name, self.network(name), self.sets, self.build(name))


def export(workspace: Workspace, name: str, report: Reporter) -> Path:
    """Weights to FP32 ONNX."""
    from ai102 import export as exporter

    network, source = workspace.network(name), workspace.source(name)
    file = workspace.build(name) / "fp32.onnx"
    made_from = {
        "weights": source.identity,
        "tensors": repr((network.inputs, network.outputs)),
        "exporter": _sha256_of_modules("export.py", "networks/sentence_embedder.py"),
        **_versions("torch", "onnx", "onnxscript", "transformers"),
    }

    def write(temporary: Path) -> Mapping[str, object]:
        with report.step(f"{name}: weights") as progress:
            module = source.module(progress)
        with report.step(f"{name}: export to ONNX"):
            samples = read_samples(workspace.sets, network.calibration_set or name, "calibration")
            tensors = tensors_of_items(network, samples.items[:PARITY_SAMPLES], source.tokenizer_file)
            difference = exporter.onnx_from_torch(module, network, tensors, temporary)
        return {"max_abs_difference": difference}

    if artifact.make(file, made_from, write):
        difference = artifact.facts_of(file)["max_abs_difference"]
        report.say(
            f"{name}: fp32.onnx {_megabytes(file)}, differs from PyTorch by at most {difference:.1e} "
            f"(allowed {exporter.MAX_ABS_DIFFERENCE:.0e})"
        )
    return file


def calibrate(workspace: Workspace, name: str, report: Reporter) -> Path:
    """The range of every activation, found on the calibration split and kept under calibration/ranges."""
    from ai102 import calibrate as calibrator

    network, source = workspace.network(name), workspace.source(name)
    if network.calibration_set is None:
        raise UserError(f"{name} has no calibration_set in models.toml: name one, and a budget, to make INT8")
    fp32, file = export(workspace, name, report), workspace.ranges(name)
    samples = read_samples(workspace.sets, network.calibration_set, "calibration")
    recipe = network.quantization
    made_from = {
        "onnx": artifact.sha256_of_file(fp32),
        "set": samples.sha256,
        "method": f"{recipe.method} {recipe.percentile}",
        "calibrator": _sha256_of_modules("calibrate.py", "graph.py"),
        **_versions("onnx", "onnxruntime"),
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


def quantize(workspace: Workspace, name: str, report: Reporter) -> Path:
    """Ranges to INT8 ONNX. Raises BudgetError, and writes nothing, when it loses more than the budget allows."""
    from ai102 import judge
    from ai102.calibrate import Ranges
    from ai102.quantize import for_onnxruntime

    network, source = workspace.network(name), workspace.source(name)
    ranges_file = calibrate(workspace, name, report)
    fp32, file = export(workspace, name, report), workspace.build(name) / "int8.onnx"
    assert network.calibration_set is not None
    samples = read_samples(workspace.sets, network.calibration_set, "test")
    cpu = for_onnxruntime.this_cpu()
    made_from = {
        "onnx": artifact.sha256_of_file(fp32),
        "ranges": artifact.sha256_of_file(ranges_file),
        "recipe": repr(network.quantization),
        "budget": repr(network.budget),
        "test split": samples.sha256,
        "cpu": cpu,
        "emitter": _sha256_of_modules("graph.py", "quantize/for_onnxruntime.py", "quantize/smooth.py"),
        **_versions("onnx", "onnxruntime"),
    }

    def write(temporary: Path) -> Mapping[str, object]:
        with report.step(f"{name}: quantize"):
            ranges = Ranges.load(ranges_file, fp32)
            graph = for_onnxruntime.int8_from_ranges(fp32, ranges, network.quantization, temporary, cpu=cpu)
        with report.step(f"{name}: judge on {len(samples.items)} held-out samples"):
            reference, candidate = (
                judge.outputs(judge.session_run(onnx, network), network, samples.items, source.tokenizer_file)
                for onnx in (fp32, temporary)
            )
            verdict = judge.compare(network, samples, reference, candidate)
        if not verdict.passed:
            raise BudgetError(f"{name}: {'; '.join(verdict.complaints)}; nothing was written")
        layers = {"int8_layers": len(graph.int8_layers), "float_layers": list(graph.float_layers)}
        return {"summary": verdict.summary, **verdict.facts, "cpu": graph.cpu, **layers}

    if artifact.make(file, made_from, write):
        report.say(f"{name}: int8.onnx {_megabytes(file)}, {artifact.facts_of(file)['summary']}")
    return file


def engine(workspace: Workspace, name: str, report: Reporter) -> None:
    """Everything the network's models in model_repository need to start."""
    from ai102.engine import onnxruntime

    network, source = workspace.network(name), workspace.source(name)
    for precision in network.precisions:
        file = _BUILDERS[precision](workspace, name, report)
        folder = workspace.repository / f"{name}_{precision}" / "1"
        if onnxruntime.install(file, network, folder, artifact.facts_of(file)):
            report.say(f"{name}: {folder.relative_to(workspace.root)}/model.onnx {_megabytes(file)}")
    if source.tokenizer_file:
        folder = workspace.repository / f"{name}_tokenize" / "1"
        tokenizer = source.tokenizer_file

        def write(temporary: Path) -> None:
            shutil.copyfile(tokenizer, temporary)

        artifact.make(folder / "tokenizer.json", {"checkpoint": artifact.sha256_of_file(tokenizer)}, write)


_BUILDERS: dict[Precision, Callable[[Workspace, str, Reporter], Path]] = {"fp32": export, "int8": quantize}


def _sha256_of_modules(*modules: str) -> str:
    room = Path(__file__).parent
    return artifact.sha256_of_text("".join((room / module).read_text(encoding="utf-8") for module in modules))


def _versions(*distributions: str) -> dict[str, str]:
    return {distribution: version(distribution) for distribution in distributions}


def _megabytes(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.2f} MB"
