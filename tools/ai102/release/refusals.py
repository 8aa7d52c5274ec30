"""Why Flagger refused a release, in one sentence: what the quality gate said of it, or else Flagger's own warnings."""

from __future__ import annotations

import json

from ai102.cluster.asking import Kubectl
from ai102.cluster.finding import line
from ai102.release import references
from ai102.release.deployment import Deployment

GATE = "quality-gate"
LOG_ROWS, MOST_WARNINGS, MOST_CHARACTERS = 200, 2, 300
# What Flagger says after each refusal.
CONSEQUENCE = "Canary failed!"


def sentence(kubectl: Kubectl, canary: str, what: str, deployment: Deployment) -> str:
    """That `what` was refused, why, and what callers have."""
    why = _gate(kubectl, canary, deployment.asked_at) or _flagger(kubectl, canary, deployment.asked_at)
    title = deployment.running.release or " ".join(references.short(image) for image in deployment.running.images)
    if deployment.canary and deployment.canary.weight == 100:
        end = "it had passed and could not be rolled out: the pods of its trial have all calls"
    else:
        end = f"{title} goes on for all callers"
    return f"{what} is refused: {why or 'Flagger does not say why'}; {end}"


def _gate(kubectl: Kubectl, canary: str, since: str) -> str:
    """Its last decision, by its log; empty where it let the release pass, or cannot be asked."""
    limits = [f"--tail={LOG_ROWS}", *([f"--since-time={since}"] if since else ())]
    done = kubectl.run("logs", f"deployment/{GATE}", f"--container={GATE}", *limits)
    begins = f"{kubectl.namespace}/{canary} "
    decisions = [row.partition(": ")[2] for row in done.stdout.splitlines() if row.startswith(begins)]
    if not decisions or decisions[-1].startswith("promote"):
        return ""
    return f"the quality gate says {line(decisions[-1], MOST_CHARACTERS)}"


def _flagger(kubectl: Kubectl, canary: str, since: str) -> str:
    about = f"--field-selector=involvedObject.kind=Canary,involvedObject.name={canary},type=Warning"
    done = kubectl.run("get", "events", about, "--output=json")
    events = json.loads(done.stdout)["items"] if done.stdout.strip() else []
    seconds = len("2026-11-29T12:00:00")
    late = [each for each in events if (each.get("lastTimestamp") or "")[:seconds] >= since[:seconds]]
    late.sort(key=lambda each: each.get("lastTimestamp") or "")
    said = [each["message"] for each in late if not each["message"].startswith(CONSEQUENCE)]
    return "; ".join(line(text, MOST_CHARACTERS) for text in said[-MOST_WARNINGS:])
