"""Releases, their history and their differences as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ai102.release import references
from ai102.release.changes import Change
from ai102.release.document import Measured, Model, Tensor
from ai102.release.envelope import Envelope
from ai102.release.history import Event
from ai102.release.keys import Known

MODELS = ("MODEL", "VERSIONS", "BATCH", "INPUTS", "OUTPUTS")
MEASURED = ("MEASURED", "VERSION", "PRECISION", "SIZE", "ENGINE", "")


def row(envelope: Envelope, state: str) -> tuple[str, ...]:
    """Of a list: name, when, who, state, images, note."""
    images = envelope.release.document.images
    both = f"{references.short(images.server)} {references.short(images.models)}"
    return envelope.name, envelope.built.at, envelope.built.by, state, both, envelope.built.note


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of even columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def page(envelope: Envelope, state: str, events: Sequence[Event], known: Mapping[str, Known]) -> list[str]:
    """All of a release but the text of its contract."""
    document = envelope.release.document
    source = document.provenance
    clean = {True: "all committed", False: "with changes that are not committed", None: "no git"}[source.is_clean]
    facts = [
        ("release", f"{envelope.name} (sha256 {envelope.release.sha256})"),
        ("state", state),
        ("built", f"{envelope.built.at} by {envelope.built.by}"),
        ("note", envelope.built.note or "-"),
        *(("signed", signer(each.key, each.by, each.at, known)) for each in envelope.signatures),
        ("server", document.images.server),
        ("models", document.images.models),
        ("", "written from this model repository" if envelope.built.is_checked else "not compared with what is below"),
        ("contract", f"models.toml, sha256 {document.contract.sha256}"),
        ("sources", f"{source.revision} ({clean})"),
        ("versions", ", ".join(f"{name} {number}" for name, number in source.versions.items())),
    ]
    return [
        *columns(facts),
        "",
        *columns([MODELS, *(_model(name, each) for name, each in document.models.items())]),
        "",
        *columns([MEASURED, *(_measured(name, each) for name, each in document.measured.items())]),
        "",
        *history(events),
    ]


def kustomization(envelope: Envelope) -> list[str]:
    """The list `images` of an overlay of k8s/overlays."""
    images = envelope.release.document.images
    lines = ["images:"]
    for reference in (images.server, images.models):
        name, _, digest = reference.partition("@")
        own = "/".join(name.split("/")[-2:])
        lines.append(f'  - {{name: {own}, newName: "{name}", digest: "{digest}"}}')
    return lines


def signer(key: str, by: str, at: str, known: Mapping[str, Known]) -> str:
    name = f"key {known[key].name} ({key})" if key in known else f"unknown key {key}"
    return f"{at} by {by} with {name}"


def history(events: Sequence[Event]) -> list[str]:
    if not events:
        return ["no history"]
    rows = [("HISTORY", "RELEASE", "WHO", "EVENT", "WHY")]
    for each in events:
        what = each.what if each.outcome == "ok" else f"{each.what}: {each.outcome}"
        to = f" to {each.detail['to'] or 'what ran before'}" if "to" in each.detail else ""
        where = f" in {each.place}" if each.place else ""
        rows.append((each.at, each.release, each.who, f"{what}{to}{where}", each.why))
    return columns(rows)


def difference(old: str, new: str, found: Sequence[Change]) -> list[str]:
    """A line for each change, what is incompatible marked and explained."""
    if not found:
        return [f"{old} and {new} differ in nothing that callers or the cluster see"]
    lines, section = [], ""
    for change in found:
        if change.section != section:
            section = change.section
            lines.append(f"{section}:")
        mark = "  !" if change.breaks else "   "
        why = f"  INCOMPATIBLE: {change.breaks}" if change.breaks else ""
        lines.append(f"{mark} {change.subject}: {change.before} -> {change.after}{why}")
    broken = sum(bool(change.breaks) for change in found)
    verdict = f"{broken} incompatible" if broken else "compatible"
    return [*lines, "", f"{old} -> {new}: {len(found)} changes, {verdict}"]


def _model(name: str, model: Model) -> tuple[str, ...]:
    versions = ", ".join(str(version) for version in model.versions)
    return name, versions, str(model.batching.max_batch_size), _tensors(model.inputs), _tensors(model.outputs)


def _tensors(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {each.data_type}{list(each.dims)}" for name, each in tensors.items())


def _measured(name: str, measured: Measured) -> tuple[str, ...]:
    engine = f"{measured.engine.name} {measured.engine.precision}" if measured.engine else "-"
    size = f"{measured.size / 1e6:.2f} MB"
    return name, str(measured.version), measured.precision, size, engine, measured.summary
