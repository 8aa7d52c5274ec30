"""Containers that end again and again, and why: memory, probes, or by themselves with the last line of their log."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

from ai102.cluster.facts import Container, Ended, Event, Facts, Pod
from ai102.cluster.finding import Finding, Level, command, line, of_pod

# A container that is ready again is a note, unless it was restarted more than once, and so lately.
RECENT_S = 600.0
# From the kubelet's newest event that it kills a container to its last end: repeated events come late, or not at all.
STALE_S = 900.0
OUT_OF_MEMORY = "OOMKilled"
SIGNALLED = 128
# TERM, and KILL after the grace.
BY_KUBELET = (143, 137)
CRASH_WAITS = ("CrashLoopBackOff",)
# Of the kubelet: `Liveness probe failed: ...` and `Container triton failed startup probe, will be restarted`.
PROBE = re.compile(
    r"(Liveness|Startup|Readiness) probe (?:failed|errored)(?: and resulted in \w+ state)?: ?(.*)", re.DOTALL
)
KILLED_BY = re.compile(r"Container (\S+) failed (liveness|startup) probe")


def container_is_out_of_memory(facts: Facts) -> Iterator[Finding]:
    for pod, container in _containers(facts):
        end = container.last_end
        if end is not None and end.reason == OUT_OF_MEMORY and (container.restarts or container.ended):
            limit = f" of {container.memory_limit}" if container.memory_limit else ""
            why = f"container {container.name} used more than its memory limit{limit} and was killed (OOMKilled)"
            mend = "raise its memory limit"
            if container.name == "triton":
                mend = (
                    "`ai102 kubernetes measure`, `ai102 kubernetes render`, and apply the overlay: they set the limit"
                )
            yield of_pod("container_is_out_of_memory", pod, why, mend, _level(facts, container))


def liveness_probe_fails(facts: Facts) -> Iterator[Finding]:
    """Triton's asks every model with a process of its own: what it says names the model."""
    for pod, container in _containers(facts):
        if not container.restarts or _killed_by(pod, container) != "liveness":
            continue
        said, times, log = _probe(pod, "Liveness"), _times(container), _log(facts, pod, container)
        if pod.role == "triton":
            rule, why = "model_process_dies", f"the check of dead models restarted the container {times}: {said}"
            mend = f"see why the model ends: {log}; then another models image, or `ai102 rollback NET` and its image"
        else:
            rule, mend = "liveness_probe_fails", f"see its log: {log}"
            why = f"container {container.name} does not answer its liveness probe; restarted {times}: {said}"
        yield of_pod(rule, pod, why, mend, _level(facts, container))


def startup_takes_too_long(facts: Facts) -> Iterator[Finding]:
    for pod, container in _containers(facts):
        if container.restarts and not container.is_ready and _killed_by(pod, container) == "startup":
            why = (
                f"container {container.name} is not ready within the time of its startup probe, and was restarted"
                f" {_times(container)}: {_probe(pod, 'Startup')}"
            )
            log = _log(facts, pod, container)
            mend = f"see what it waits for: {log}; on slower nodes raise failureThreshold of its startupProbe"
            yield of_pod("startup_takes_too_long", pod, why, mend)


def container_crashes(facts: Facts) -> Iterator[Finding]:
    for pod, container in _containers(facts):
        end = container.last_end
        if end is None or end.reason in (OUT_OF_MEMORY, "Completed") or _killed_by(pod, container):
            continue
        if container.waits in CRASH_WAITS or (container.ended is not None and end.exit_status) or container.restarts:
            last = end.message or facts.last_lines.get((pod.name, container.name))
            said = "" if last is None else f"; its log ends: {line(last, 200)}" if last else "; its log is empty"
            why = f"container {container.name} ends with status {_status(end)}, restarted {_times(container)}{said}"
            yield of_pod(
                "container_crashes", pod, why, f"the whole log: {_log(facts, pod, container)}", _level(facts, container)
            )


def crashed(facts: Facts) -> list[tuple[Pod, Container]]:
    """Those whose log says why they crash."""
    return [
        (pod, container)
        for pod, container in _containers(facts)
        if container.last_end is not None
        and container.last_end.reason not in (OUT_OF_MEMORY, "Completed")
        and _level(facts, container) == "wrong"
        and not _killed_by(pod, container)
    ]


def last_probe(pod: Pod) -> str:
    """What the newest failed probe of a pod said, of any kind."""
    return next((line(match[2]) for match in map(_match, reversed(pod.events)) if match), "")


def _containers(facts: Facts) -> list[tuple[Pod, Container]]:
    return [(pod, container) for pod in facts.running for container in pod.containers]


def _level(facts: Facts, container: Container) -> Level:
    end = container.last_end
    is_recent = end is not None and facts.now_s - end.at_s < RECENT_S
    return "wrong" if not container.is_ready or (is_recent and container.restarts > 1) else "note"


def _killed_by(pod: Pod, container: Container) -> str:
    """The probe for which the kubelet ended its last run; empty when that ended by itself."""
    end = container.last_end
    near = [event for event in pod.events if end and event.at_s > end.at_s - STALE_S]
    kills = [
        match[2] for match in (KILLED_BY.search(each.message) for each in near) if match and match[1] == container.name
    ]
    if not kills and end and end.exit_status in BY_KUBELET:  # the event of the kill may be missing
        kills = [match[1].lower() for match in map(_match, near) if match and match[1] != "Readiness"]
    return kills[-1] if kills else ""


def _probe(pod: Pod, kind: str) -> str:
    said = [match[2] for match in map(_match, pod.events) if match and match[1] == kind]
    return line(said[-1]) if said else "the probe said nothing"


def _match(event: Event) -> re.Match[str] | None:
    return PROBE.match(event.message)


def _status(end: Ended) -> str:
    """With the name of the signal that ended it, as shells count them."""
    names = {each.value: each.name for each in signal.Signals}
    name = names.get(end.exit_status - SIGNALLED, "")
    return f"{end.exit_status} ({name})" if name else str(end.exit_status)


def _times(container: Container) -> str:
    return {0: "not yet", 1: "once"}.get(container.restarts, f"{container.restarts} times")


def _log(facts: Facts, pod: Pod, container: Container) -> str:
    return command(facts, f"logs {pod.name} --container {container.name} --previous")
