"""What changes for callers between two releases, and what of it would break them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ai102.release import references
from ai102.release.document import Document, Engine, Measured, Model, Tensor

T = TypeVar("T")
SECTIONS = ("models", "tensors", "labels", "batching", "accuracy", "size", "speed", "goals", "versions", "images")


@dataclass(frozen=True)
class Change:
    """`breaks` says why callers of the old release would fail or misread answers; empty where they do not."""

    section: str
    subject: str
    before: str
    after: str
    breaks: str = ""
    model: str = ""  # the served model that it is about

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def changes(old: Document, new: Document) -> list[Change]:
    """In the order of the sections."""
    found: list[Change] = []
    for name, before, after in _pairs(old.models, new.models):
        if before is None:
            found.append(Change("models", name, "absent", "served", model=name))
        elif after is None:
            found.append(Change("models", name, "served", "absent", "callers of it get an error", name))
        else:
            found += _of_model(name, before, after)
    for name, measured, measured_now in _pairs(old.measured, new.measured):
        found += _of_measured(name, measured, measured_now)
    for name, goals, goals_now in _pairs(old.pipelines, new.pipelines):
        if goals is not None and goals_now is not None and goals != goals_now:
            found += _fields("goals", name, goals.model_dump(), goals_now.model_dump())
    found += _fields("versions", "", old.provenance.versions, new.provenance.versions)
    found += [
        Change("images", kind, references.short(before), references.short(after))
        for kind, before, after in (
            ("server", old.images.server, new.images.server),
            ("models", old.images.models, new.images.models),
        )
        if before != after
    ]
    return sorted(found, key=lambda each: SECTIONS.index(each.section))


def breaking(found: list[Change]) -> list[Change]:
    return [each for each in found if each.breaks]


def how_to_ship(broken: list[Change]) -> str:
    """One line. Triton has one config for all versions of a model, so that another version beside helps no caller."""
    models = list(dict.fromkeys(each.model for each in broken))
    removed = [each.model for each in broken if each.section == "models"]
    steps = []
    if changed := [name for name in models if name not in removed]:
        steps.append(
            f"serve what changed under another name beside {', '.join(changed)} (another table in models.toml), "
            "promote both, move the callers, and remove the old name in a later release"
        )
    if removed:
        options = " ".join(f"--without {name}" for name in removed)
        steps.append(f"when nobody asks for {', '.join(removed)} any more, promote with {options}")
    return "; ".join(steps)


def _of_model(name: str, before: Model, after: Model) -> Iterator[Change]:
    for kind in ("inputs", "outputs"):
        for tensor, was, now in _pairs(getattr(before, kind), getattr(after, kind)):
            yield from _of_tensor(name, kind.removesuffix("s"), tensor, was, now)
    if before.labels != after.labels:
        yield _labels(name, name, before.labels, after.labels)
    most, most_now = before.batching.max_batch_size, after.batching.max_batch_size
    if most != most_now:
        shape = "tensors gain or lose the dimension of the batch" if 0 in (most, most_now) else ""
        breaks = shape or ("larger batches are refused" if most_now < most else "")
        yield Change("batching", f"{name} max_batch_size", str(most), str(most_now), breaks, name)
    batching, batching_now = before.batching.model_dump(), after.batching.model_dump()
    del batching["max_batch_size"], batching_now["max_batch_size"]
    yield from _fields("batching", name, batching, batching_now)
    for field, breaks in (
        ("is_decoupled", "a request gets another number of answers"),
        ("is_stateful", "requests need, or lose, the id of a sequence"),
    ):
        was, now = getattr(before, field), getattr(after, field)
        if was != now:
            yield Change("tensors", f"{name} {field}", str(was).lower(), str(now).lower(), breaks, name)
    if before.versions != after.versions:
        yield Change("versions", f"{name} served", _text(before.versions), _text(after.versions), model=name)
    if before.backend != after.backend:
        yield Change("versions", f"{name} backend", before.backend, after.backend, model=name)


def _of_tensor(model: str, kind: str, name: str, before: Tensor | None, after: Tensor | None) -> Iterator[Change]:
    subject = f"{model} {kind} {name}"
    if before is None and after is not None:
        breaks = "requests without it are refused" if kind == "input" and not after.is_optional else ""
        yield Change("tensors", subject, "absent", _words(after), breaks, model)
    elif before is not None and after is None:
        breaks = "requests with it are refused" if kind == "input" else "callers miss it"
        yield Change("tensors", subject, _words(before), "absent", breaks, model)
    elif before is not None and after is not None:
        if _words(before) != _words(after):
            yield Change("tensors", subject, _words(before), _words(after), _breaks(kind, before, after), model)
        if before.labels != after.labels:
            yield _labels(model, subject, before.labels, after.labels)


def _breaks(kind: str, before: Tensor, after: Tensor) -> str:
    if before.data_type != after.data_type:
        return "another data type"
    if before.format != after.format:
        return "another order of the dimensions"
    # An input may take more than before, an output may give less.
    takes, gives = (before.dims, after.dims) if kind == "input" else (after.dims, before.dims)
    if len(takes) != len(gives) or any(wide not in (-1, narrow) for narrow, wide in zip(takes, gives, strict=True)):
        return (
            "shapes that were taken are refused" if kind == "input" else "callers get a shape that they do not expect"
        )
    return "it may no longer be left out" if before.is_optional and not after.is_optional else ""


def _labels(model: str, subject: str, before: tuple[str, ...], after: tuple[str, ...]) -> Change:
    """Labels may be added at the end alone."""
    gone = [label for label in before if label not in after]
    if gone:
        what, breaks = f"without {_some(gone)}", "answers that callers know are no longer given"
    elif after[: len(before)] != before:
        what, breaks = "in another order", "a place of the scores means another label"
    else:
        what, breaks = f"and {_some(list(after[len(before) :]))}", ""
    return Change("labels", subject, f"{len(before)} labels", f"{len(after)} labels, {what}", breaks, model)


def _of_measured(name: str, before: Measured | None, after: Measured | None) -> Iterator[Change]:
    if before is None or after is None:
        return
    for bound, now in after.budget.items():
        was = before.budget.get(bound)
        if was is None or (was.measured, was.limit) != (now.measured, now.limit):
            old = "not measured" if was is None else f"{was.measured:.5g} (budget {was.limit:g})"
            yield Change("accuracy", f"{name} {bound}", old, f"{now.measured:.5g} (budget {now.limit:g})", model=name)
    yield from (
        Change("accuracy", f"{name} {bound}", f"{was.measured:.5g} (budget {was.limit:g})", "no budget", model=name)
        for bound, was in before.budget.items()
        if bound not in after.budget
    )
    yield from _fields("accuracy", name, before.figures, after.figures)
    if before.precision != after.precision:
        yield Change("accuracy", f"{name} precision", before.precision, after.precision, model=name)
    if before.size != after.size:
        part = f" ({after.size / before.size - 1:+.1%})" if before.size else ""
        yield Change("size", name, _megabytes(before.size), f"{_megabytes(after.size)}{part}", model=name)
    elif before.sha256 != after.sha256:
        yield Change("size", f"{name} content", before.sha256[:12], after.sha256[:12], model=name)
    if before.speed is not None and after.speed is not None and before.speed.ratio != after.speed.ratio:
        ratio, ratio_now = (f"{each.ratio:.2f}x at batch {each.batch}" for each in (before.speed, after.speed))
        yield Change("speed", f"{name} against FP32", ratio, ratio_now, model=name)
    if before.engine is not None and after.engine is not None:
        yield from _of_engine(name, before.engine, after.engine)


def _of_engine(name: str, before: Engine, after: Engine) -> Iterator[Change]:
    """Times are compared where the same kind of CPU measured them with as many threads."""
    was, now = (f"{each.name} {each.precision} on {each.cpu}" for each in (before, after))
    if was != now:
        yield Change("speed", f"{name} engine", was, now, model=name)
    where, where_now = (f"{each.cpu_name}, {each.threads} thread(s)" for each in (before, after))
    if where != where_now:
        yield Change("speed", f"{name} measured on", where, f"{where_now}: times are not compared", model=name)
        return
    for shape, ms, ms_now in _pairs(before.ms, after.ms):
        if ms is not None and ms_now is not None and ms != ms_now:
            after_text = f"{ms_now:.4g} ms ({ms_now / ms - 1:+.0%})"
            yield Change("speed", f"{name} {shape}", f"{ms:.4g} ms", after_text, model=name)


def _fields(section: str, subject: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for key, was, now in _pairs(before, after):
        if was != now:
            yield Change(section, f"{subject} {key}".strip(), _text(was), _text(now), model=subject)


def _pairs(before: Mapping[str, T], after: Mapping[str, T]) -> Iterator[tuple[str, T | None, T | None]]:
    for key in sorted({*before, *after}):
        yield key, before.get(key), after.get(key)


def _words(tensor: Tensor) -> str:
    dims = ", ".join(str(size) for size in tensor.dims)
    extra = f"{f' {tensor.format}' if tensor.format else ''}{' optional' if tensor.is_optional else ''}"
    return f"{tensor.data_type} [{dims}]{extra}"


def _text(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, tuple | list):
        return ", ".join(str(each) for each in value) or "none"
    return str(value)


def _some(labels: list[str]) -> str:
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return ", ".join(labels[:3]) + more


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"
