"""Release notes in Markdown: what a release is, and what changes for callers since another one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ai102.release import changes, standing, words
from ai102.release.envelope import Envelope
from ai102.release.history import Event
from ai102.release.keys import Known


def last_in_service(events: Sequence[Event], besides: str, names: Collection[str]) -> str:
    """The release of `names` that went into service last, other than `besides`; empty without one."""
    for number in range(len(events), 0, -1):
        event = events[number - 1]
        name = standing.in_service([event]).get(event.place, "")
        if name and name != besides and name in names:
            return name
    return ""


def notes(envelope: Envelope, before: Envelope | None, known: Mapping[str, Known]) -> list[str]:
    """Lines of Markdown; `before` is what it is compared with."""
    document = envelope.release.document
    rows = [
        ("built", f"{envelope.built.at} by {envelope.built.by}"),
        *(("signed", words.signer(each.key, each.by, each.at, known)) for each in envelope.signatures),
        ("server image", f"`{document.images.server}`"),
        ("models image", f"`{document.images.models}`"),
        ("sources", document.provenance.revision),
        *((f"accuracy of {name}", each.summary) for name, each in document.measured.items() if each.summary),
    ]
    lines = [f"# Release {envelope.name}", "", *([envelope.built.note, ""] if envelope.built.note else [])]
    lines += ["| what | value |", "|---|---|", *(f"| {_cell(what)} | {_cell(value)} |" for what, value in rows), ""]
    if before is None:
        return [*lines, "No release before it is known."]
    lines += [f"## Changes since {before.name}", ""]
    found = changes.changes(before.release.document, document)
    if not found:
        return [*lines, "None that callers or the cluster see."]
    lines += ["| subject | before | now | callers |", "|---|---|---|---|"]
    for each in found:
        subject = f"{each.section} {each.subject}".strip()
        broken = f"**incompatible**: {each.breaks}" if each.breaks else "go on"
        lines.append(f"| {' | '.join(_cell(cell) for cell in (subject, each.before, each.after, broken))} |")
    return lines


def _cell(text: str) -> str:
    """In one line, without an end of the cell."""
    return " ".join(text.split()).replace("|", "\\|")
