"""Where each release stands, by what its file and the history say; no cluster is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ai102.release.envelope import Envelope
from ai102.release.history import Event

# By the last event of a release that is not in service.
AFTER = {
    ("promoted", "ok"): "replaced",
    ("promoted", "started"): "promotion not ended",
    ("promoted", "failed"): "was not ready",
    ("aborted", "ok"): "aborted",
    ("rolled-back", "ok"): "rolled back",
    ("judged", "failed"): "stopped by the gate",
    ("judged", "ok"): "passed the gate",
}


def in_service(events: Iterable[Event]) -> dict[str, str]:
    """By place of a cluster, the release that the last ended rollout left there; empty where it had no name."""
    places: dict[str, str] = {}
    for event in events:
        if event.outcome == "ok" and event.what in ("promoted", "aborted", "rolled-back"):
            places[event.place] = event.release if event.what == "promoted" else str(event.detail.get("to", ""))
    return places


def state(envelope: Envelope, events: Sequence[Event], known: Iterable[str]) -> str:
    """In a few words. `known` are the ids of the keys whose signatures count."""
    if places := [place for place, name in in_service(events).items() if name == envelope.name]:
        return f"in service in {', '.join(places)}"
    own = [AFTER.get((event.what, event.outcome), "") for event in events if event.release == envelope.name]
    if words := [each for each in own if each]:
        return words[-1]
    if not envelope.signatures:
        return "built, not signed"
    is_known = not {each.key for each in envelope.signatures}.isdisjoint(known)
    return "signed" if is_known else "signed by an unknown key"


def before(events: Sequence[Event], name: str, deployment: str) -> str:
    """The release that was in service when `name` was last promoted to that Deployment; empty where it is not known."""
    for event in reversed(events):
        is_there = event.detail.get("deployment") == deployment
        if event.what == "promoted" and event.outcome != "failed" and event.release == name and is_there:
            return str(event.detail.get("before", ""))
    return ""
