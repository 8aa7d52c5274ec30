"""The steps of one network in their order: each is preceded by those that it needs, and gets the files it needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai102 import artifact
from ai102.build import in_one_process
from ai102.build.contract_inputs import contract_inputs
from ai102.build.served_files import OWN, ServedFiles, file_for
from ai102.build.subject import Subject
from ai102.build.withdraw import withdraw_int8
from ai102.build.workspace import Workspace
from ai102.configs import configure
from ai102.contract import Precision, Recipe
from ai102.errors import BudgetError, UserError
from ai102.int8 import kept_choices
from ai102.progress import Reporter
from ai102.samples.read import Samples, calibration_and_test
from ai102_runtime.engine.cpu import COMPUTES, Cpu, this_cpu
from ai102_runtime.engine.record import OTHERWISE, Choice, EngineName

if TYPE_CHECKING:
    from ai102.build.steps.quantize import OverBudgetError
    from ai102.int8.kept_choices import KeptChoice
    from ai102.int8.recipes import ChosenRecipe
    from ai102.int8.trial import Bench

# Real samples that a warm-up request is made of, at most.
WARM_SAMPLES = 16


@dataclass(frozen=True)
class Order:
    """One network of a workspace on its way. A step whose inputs did not change costs a few hashes."""

    workspace: Workspace
    name: str
    report: Reporter
    measures: bool = False  # the engines anew, whatever choice is kept

    @cached_property
    def subject(self) -> Subject:
        network, source = self.workspace.network(self.name), self.workspace.source(self.name)
        return Subject(self.name, network, source, self.report, self.workspace.root)

    @cached_property
    def splits(self) -> tuple[Samples, Samples]:
        """The calibration and test samples. Raises UserError where the network has no calibration set."""
        calibration_set = self.subject.network.calibration_set
        if calibration_set is None:
            raise UserError(f"{self.name} has no calibration_set in models.toml: name one, and a budget, to make INT8")
        return calibration_and_test(self.workspace.sets, calibration_set)

    @cached_property
    def fp32(self) -> Path:
        from ai102.build.steps import export

        file = self.workspace.build(self.name) / "fp32.onnx"
        export.export(self.subject, self._calibration, file)
        return file

    def ranges(self, recipe: Recipe) -> Path:
        """By the method of the recipe; each method has a file of its own."""
        from ai102.build.steps import calibrate

        calibration, _ = self.splits
        file = self.workspace.ranges(self.name, recipe)
        calibrate.calibrate(self.subject, self.fp32, calibration, recipe, file)
        return file

    def int8(self) -> Path:
        """Raises BudgetError when it loses more than the budget allows.

        Nothing is written then, the INT8 model of an earlier build is taken out of model_repository, and the layers
        that cost most are said.
        """
        from ai102.build.steps import quantize

        chosen = self.recipe()
        fp32, ranges = self.fp32, self.ranges(chosen.recipe)
        file = self.workspace.build(self.name) / "int8.onnx"
        try:
            quantize.quantize(self.subject, fp32, ranges, *self.splits, chosen, file)
        except quantize.OverBudgetError as err:
            raise self._refusal(err, chosen.recipe) from err
        return file

    def tensorrt(self) -> Path:
        """The Q/DQ graph for TensorRT. Raises BudgetError as `int8` does."""
        from ai102.build.steps import quantize_for_tensorrt

        recipe = self.recipe("tensorrt").recipe
        fp32, ranges = self.fp32, self.ranges(recipe)
        file = self.workspace.qdq_file(self.name)
        quantize_for_tensorrt.quantize(self.subject, fp32, ranges, self.splits[1], recipe, file)
        return file

    def chosen_engine(self, precision: Precision) -> Path | None:
        """What serves the network's model of that precision on this kind of CPU; None for ONNX Runtime always.

        The manifest of the file says more. Raises BudgetError where the contract asks for an engine that does not pass.
        """
        from ai102.build.steps import choose_engine

        network = self.subject.network
        if network.engine == "onnxruntime":
            return None
        files: dict[Precision, Path] = {"fp32": self.fp32}
        usual: Precision = "fp32"
        if precision == "int8":
            files["int8"] = self.int8()
            usual = "fp32" if artifact.facts_of(files["int8"])["served_precision"] == "fp32" else "int8"
        file = self.workspace.build(self.name) / f"{precision}.engine.json"
        calibration, test = self.splits if network.calibration_set else (None, None)
        given = choose_engine.Files(files, usual)
        kept = None if self.measures else self._kept(this_cpu(), precision)
        choose_engine.choose(self.subject, given, calibration, test, f"{self.name}_{precision}", kept, file)
        return file

    def keep_choices(self) -> None:
        """Write what was measured into the file that is committed."""
        from ai102.build.steps.choose_engine import kept_from

        file = self.workspace.engines_file(self.name)
        chosen = {precision: self.chosen_engine(precision) for precision in self.subject.network.precisions}
        measured = {
            precision: kept_from(artifact.facts_of(record), self.fp32) for precision, record in chosen.items() if record
        }
        kept_choices.keep(file, this_cpu(), measured)
        self.report.say(f"{self.name}: wrote calibration/engines/{file.name} for {this_cpu()}")

    def for_other_cpus(self) -> dict[Cpu, tuple[EngineName, Path]]:
        """The engine and the file of each other kind of CPU whose INT8 file can be judged here.

        Such a kind has a choice that was measured on it, or a recipe of its own, which ONNX Runtime computes then.
        """
        from ai102.build.steps import quantize_for_cpu

        network, files = self.subject.network, dict[Cpu, tuple[EngineName, Path]]()
        for cpu in COMPUTES[this_cpu()]:
            kept = self._kept(cpu, "int8")
            is_known = kept is not None or self.workspace.has_own_recipe(self.name, cpu)
            is_allowed = kept is not None and network.engine in ("fastest", kept.candidate.library)
            engine: EngineName = kept.engine if kept and is_allowed else "onnxruntime"
            if cpu == this_cpu() or not is_known:
                continue
            if kept and kept.precision == "fp32":
                files[cpu] = engine, self.fp32
                continue
            chosen = self.recipe(cpu)
            ranges, file = self.ranges(chosen.recipe), self.workspace.build(self.name) / f"int8.{cpu}.onnx"
            if quantize_for_cpu.quantize(self.subject, self.fp32, ranges, self.splits[1], chosen, cpu, engine, file):
                files[cpu] = engine, file
        return files

    def _kept(self, cpu: Cpu, precision: Precision) -> KeptChoice | None:
        file = self.workspace.engines_file(self.name)
        threads, sha256 = self.subject.network.instances.threads, artifact.sha256_of_file(self.fp32)
        return kept_choices.kept_for(file, cpu, precision, onnx_sha256=sha256, threads=threads)

    def recipe(self, kind: str | None = None) -> ChosenRecipe:
        """How the network is quantized for a kind of CPU, by default this one, or for "tensorrt"."""
        from ai102.int8 import recipes

        file = self.workspace.recipe_file(self.name, kind or this_cpu())
        return recipes.recipe_of(self.workspace.network(self.name), file)

    def bench(self) -> Bench:
        """Where recipes are tried: on the calibration split alone."""
        from ai102.int8.trial import Bench

        network, (calibration, _) = self.subject.network, self.splits
        return Bench(
            self.name,
            network,
            self.fp32,
            self.subject.tokenizer_file,
            calibration,
            self.workspace.build(self.name),
            contract_inputs("search", network),
        )

    def install(self) -> None:
        """Every model of the network into model_repository; what changed is a new version.

        Where FP32 is faster, the INT8 model's folder gets the FP32 file, so that ensembles keep their steps; its
        manifest says so, and what was tried in which engine.
        """
        from ai102.build.steps import install

        network, builds = self.subject.network, self.workspace.builds(self.name)
        number = builds.next_number()
        for precision in network.precisions:
            facts = artifact.facts_of(self._file_of(precision))
            record = self.chosen_engine(precision)
            engine: EngineName = "onnxruntime"
            served_precision = facts.get("served_precision", precision)
            if record:
                chosen: Any = artifact.facts_of(record)
                served_precision, engine = chosen["precision"], chosen["engine"]
                facts = {**facts, "engine": chosen}
            facts = {**facts, "precision": served_precision}
            served = self._served_files(precision, served_precision, engine)
            if install.install(self.subject, builds, number, precision, served, facts):
                install.install_warmup(self.subject, builds, precision, self._warm_items())
        if tokenizer := self.subject.tokenizer_file:
            install.install_tokenizer(self.subject, builds, number, tokenizer, self._tokenizer_code())
        for ensemble in in_one_process.follow(self.workspace, self.name):
            self.report.say(f"{self.name}: {ensemble} runs this build in its own process")
        for folder in builds.prune(network.versions.keep):
            self.report.say(
                f"{self.name}: removed {self.subject.shown(folder)}, versions.keep is {network.versions.keep}"
            )

    def _served_files(self, precision: Precision, served: object, engine: EngineName) -> ServedFiles:
        """INT8 is served on kinds of CPU that it was judged for; the others compute the FP32 model's file."""
        files = {OWN: self.fp32 if served == "fp32" else self._file_of(precision)}
        own = Choice(engine, OWN)
        if precision == "fp32":
            return ServedFiles(files, {this_cpu(): own} if self.subject.network.engine != "onnxruntime" else {})
        # A kind that computes this one's file to the same values.
        choices: dict[str, Choice] = {cpu: own for cpu, computed in COMPUTES.items() if this_cpu() in computed}
        for cpu, (other_engine, file) in self.for_other_cpus().items():
            files[file_for(cpu)] = file
            choices[cpu] = Choice(other_engine, file_for(cpu))
        if served == "fp32":
            return ServedFiles(files, choices | {OTHERWISE: Choice("onnxruntime", OWN)})
        fp32 = self.workspace.builds(self.name).newest(f"{self.name}_fp32")
        unjudged = f"../../{fp32.parent.name}/{fp32.name}/{OWN}"
        return ServedFiles(files, choices | {OTHERWISE: Choice("onnxruntime", unjudged)}, {unjudged: self.fp32})

    @property
    def _calibration(self) -> Samples | None:
        return self.splits[0] if self.subject.network.calibration_set else None

    def _file_of(self, precision: Precision) -> Path:
        return self.int8() if precision == "int8" else self.fp32

    def _warm_items(self) -> tuple[bytes, ...]:
        return self._calibration.items[:WARM_SAMPLES] if self._calibration else ()

    def _tokenizer_code(self) -> dict[str, str]:
        folder = f"{self.name}_tokenize/1/"
        files = configure.files_from_contract(self.workspace.contract)
        return {path.removeprefix(folder): text for path, text in files.items() if path.startswith(folder)}

    def _refusal(self, err: OverBudgetError, recipe: Recipe) -> BudgetError:
        from ai102.int8 import recipes

        withdraw_int8(self.workspace, self.name, self.report)
        advice = ""
        if err.verdict.blames_int8:
            recipes.say_ranking(self.bench(), recipe, self.report)
            if self.subject.network.quantization is None:
                advice = f"; `ai102 quantize {self.name} --search` looks for a recipe that keeps to it"
        return BudgetError(f"{err}{advice}")
