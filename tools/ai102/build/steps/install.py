"""Built files into model_repository: the next version of each model, with its manifest and warm-up requests."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from ai102 import artifact
from ai102.build import install as onnxruntime
from ai102.build import warmup
from ai102.build.contract_inputs import contract_inputs
from ai102.build.served_files import OWN, ServedFiles, others_in
from ai102.build.subject import Subject
from ai102.build.versions import Builds, incoming
from ai102.contract import Precision
from ai102_runtime.engine.record import record_of


def made_from(subject: Subject, facts: Mapping[str, object], served: ServedFiles) -> dict[str, str]:
    """What a served file is made from beside the file itself: its manifest shall never tell of another judgement."""
    reported = artifact.sha256_of_text(repr(sorted(facts.items())))
    return {"facts": reported, "build": served.identity, **contract_inputs("install", subject.network)}


def install(
    subject: Subject,
    builds: Builds,
    number: int,
    precision: Precision,
    served: ServedFiles,
    facts: Mapping[str, object],
) -> bool:
    """Serve the files as MODEL of that precision, with the record of the engine and the file of each kind of CPU.

    `facts` go into the manifest of this kind's file. Returns whether MODEL is served. It is not where a rollback took
    this very build out. A new build, be it by its record alone, is version `number`.
    """
    name, network, report = subject.name, subject.network, subject.report
    model = f"{name}_{precision}"
    folder = builds.folder_for(model, OWN, served.identity, number)
    if folder is None:
        say_rolled_back(subject, model)
        return False
    with incoming(folder) as place:
        others = {file: source for file, source in served.files.items() if file != OWN}
        for file, source in others.items():
            onnxruntime.install(source, network, place / file, {}, artifact.facts_of(source))
        for stale in [file for file in others_in(place) if file.name not in others]:
            artifact.remove(stale)
        _install_record(served.record, record_of(place / OWN))
        changed = onnxruntime.install(served.files[OWN], network, place / OWN, made_from(subject, facts, served), facts)
    if changed:
        is_other = facts["precision"] != precision
        note = f", the {facts['precision']} graph ({facts['reason'] or 'faster in its engine'})" if is_other else ""
        report.say(f"{name}: {subject.shown(folder)}/{OWN} {artifact.megabytes(served.files[OWN])}{note}")
    return True


def _install_record(text: str | None, place: Path) -> None:
    if text is None:
        artifact.remove(place)
        return

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    artifact.make(place, {"choice": artifact.sha256_of_text(text)}, write)


def install_warmup(subject: Subject, builds: Builds, precision: Precision, items: tuple[bytes, ...]) -> None:
    """The requests that warm MODEL of that precision up, made of `items`, or of made-up values where there are none."""
    folder = builds.repository / f"{subject.name}_{precision}"
    warmup.write(folder, subject.network, items, subject.tokenizer_file)


def install_tokenizer(subject: Subject, builds: Builds, number: int, tokenizer: Path, code: Mapping[str, str]) -> None:
    """The checkpoint's tokenizer beside the Python model that runs it; a version of its own holds a copy of both.

    `code` is that model's, by file name; `ai102 configure` writes it into version 1.
    """
    model, sha256 = f"{subject.name}_tokenize", artifact.sha256_of_file(tokenizer)
    folder = builds.folder_for(model, "tokenizer.json", sha256, number if builds.installed(model) else 1)
    if folder is None:
        say_rolled_back(subject, model)
        return

    def write(temporary: Path) -> None:
        shutil.copyfile(tokenizer, temporary)

    with incoming(folder) as place:
        artifact.make(place / "tokenizer.json", {"checkpoint": sha256}, write)
        if folder.name != "1":
            for file, text in code.items():
                artifact.write_text(place / file, text)


def say_rolled_back(subject: Subject, model: str) -> None:
    subject.report.say(
        f"{model}: this build was rolled back and is not served; `ai102 rollback {subject.name} --undo` brings it back"
    )
