"""The state of a cluster as one screen: what is wrong at the top, then what runs, the release, scaling, nodes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ai102.cluster.certificates import DAY_S
from ai102.cluster.facts import ROLES, Facts, Pod, Workload
from ai102.cluster.finding import Finding
from ai102.cluster.quantities import number_of
from ai102.cluster.release import release

STYLES = {"wrong": "bold red", "note": "yellow", "good": "green", "quiet": "dim"}
# So many findings and pods of a workload fit on a screen.
MOST_FINDINGS = 8
MOST_PODS = 6


def screen(facts: Facts, findings: Sequence[Finding]) -> RenderableType:
    """Everything, in the order in which a person reads it."""
    parts: list[RenderableType] = [_headline(facts), _verdict(findings)]
    if findings:
        parts.append(_findings(findings))
    parts += [Text(""), _pods(facts), *_support(facts), Text(""), _release(facts), Text("")]
    parts += [Text(text) for text in (*_scaling(facts), *_nodes(facts), *_certificate(facts))]
    parts += [Text(f"not read: {text}", STYLES["quiet"]) for text in facts.unread]
    return Group(*parts)


def age(seconds: float) -> str:
    """The largest unit of which there are two."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def state_of(pod: Pod) -> str:
    """In a word or two."""
    if pod.is_ending:
        return "ending"
    if pod.is_ready:
        return "ready"
    waits = next((container.waits for container in pod.containers if container.waits), "")
    if waits or not pod.node:
        return waits or "no node"
    ran = [container for container in pod.containers if not container.is_initial]
    return "not ready" if all(container.is_started for container in ran) else "starting"


def _headline(facts: Facts) -> Text:
    at = time.strftime("%H:%M:%S", time.localtime(facts.now_s))
    where = f"namespace {facts.namespace}, context {facts.context or '(in the cluster)'}"
    return Text(f"{at}  {where}", STYLES["quiet"])


def _verdict(findings: Sequence[Finding]) -> Text:
    wrong = sum(finding.level == "wrong" for finding in findings)
    notes = len(findings) - wrong
    and_notes = f", {notes} to note" if notes else ""
    return Text(f"{wrong} WRONG{and_notes}", STYLES["wrong"]) if wrong else Text(f"ALL WELL{and_notes}", STYLES["good"])


def _findings(findings: Sequence[Finding]) -> Table:
    """Each as a word, and lines that wrap beside it."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for finding in findings[:MOST_FINDINGS]:
        word = finding.level.upper() if finding.level == "wrong" else finding.level
        grid.add_row(
            Text(f"  {word:5}", STYLES[finding.level]), Text(f"{finding.subject}: {finding.why}\nnext: {finding.mend}")
        )
    if len(findings) > MOST_FINDINGS:
        grid.add_row("", Text(f"and {len(findings) - MOST_FINDINGS} more: --json has them"))
    return grid


def _pods(facts: Facts) -> Table:
    """The parts of this project, a row a pod, those that are not ready first."""
    table = Table("", "READY", "STATE", "NODE", "AGE", "RESTARTS", box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    for workload in _in_order(facts):
        table.add_row(workload.name, _ready(workload), _updated(workload), "", "", "", style="bold")
        pods = sorted(facts.of_workload(workload.name), key=lambda pod: (pod.is_ready, pod.name))
        for pod in pods[:MOST_PODS]:
            style = "" if pod.is_ready else STYLES["note"]
            cells = ("", state_of(pod), pod.node or "-", age(facts.now_s - pod.created_s), str(pod.restarts))
            table.add_row(f"  {pod.name}", *cells, style=style)
        if len(pods) > MOST_PODS:
            table.add_row(f"  and {len(pods) - MOST_PODS} more", "", "", "", "", "")
    return table


def _in_order(facts: Facts) -> list[Workload]:
    ours = [workload for workload in facts.workloads if workload.role in ROLES]
    return sorted(ours, key=lambda workload: (ROLES.index(workload.role), workload.name))


def _ready(workload: Workload) -> str:
    return f"{workload.ready} of {workload.wanted}"


def _updated(workload: Workload) -> str:
    return "" if workload.updated >= workload.wanted else f"{workload.updated} of the new release"


def _support(facts: Facts) -> list[Text]:
    others = [workload for workload in facts.workloads if workload.role not in ROLES]
    if not others:
        return []
    return [Text(f"support: {', '.join(f'{each.name} {_ready(each)}' for each in others)}")]


def _release(facts: Facts) -> Table:
    """The images that run; their workloads' versions where they have that label."""
    versions = {workload.name: workload.version for workload in facts.workloads}
    has_versions = any(versions.values())
    table = Table("IMAGE", "DIGEST", "PODS", "OF", box=None, pad_edge=False, header_style="bold")
    if has_versions:
        table.add_column("VERSION")
    for part in release(facts):
        digest = part.image.short if part.image.is_pinned else f"tag {part.image.short}"
        cells = [part.image.name, digest, f"{part.pods} of {part.of}", ", ".join(part.workloads)]
        if has_versions:
            cells.append(" ".join(dict.fromkeys(filter(None, (versions.get(name, "") for name in part.workloads)))))
        table.add_row(*cells, style="" if part.pods == part.of else STYLES["note"])
    return table


def _scaling(facts: Facts) -> list[str]:
    triggers = {scaled.target: scaled.triggers for scaled in facts.scaled}
    lines = []
    for scaler in facts.scalers:
        names = triggers.get(scaler.target, ())
        figures = ", ".join(
            f"{_metric_name(each.name, names)} {_figure(each.now)} of {_figure(each.target)}" for each in scaler.metrics
        )
        limits = f"{scaler.now} replicas, {scaler.least} to {scaler.most} allowed, {scaler.wanted} wanted"
        lines.append(f"scaling  {scaler.target}: {limits}{f' by {figures}' if figures else ''}")
    targets = {scaler.target for scaler in facts.scalers}
    fixed = [each for each in _in_order(facts) if each.role == "triton" and each.name not in targets]
    return [
        *lines,
        *(f"scaling  {each.name}: {each.wanted} replica{'' if each.wanted == 1 else 's'}, no scaler" for each in fixed),
    ]


def _metric_name(name: str, triggers: Sequence[str]) -> str:
    """KEDA calls the figure of its first trigger s0-prometheus."""
    number = name[1:].partition("-")[0]
    is_of_keda = name.startswith("s") and number.isdecimal() and int(number) < len(triggers)
    return triggers[int(number)] if is_of_keda else name


def _figure(quantity: str) -> str:
    if not quantity or quantity.endswith("%"):
        return quantity or "?"
    return f"{number_of(quantity):.3g}"


def _nodes(facts: Facts) -> list[str]:
    if not facts.nodes:
        return []
    ready = sum(node.is_ready for node in facts.nodes)
    versions = ", ".join(dict.fromkeys(node.version for node in facts.nodes if node.version))
    names = [node.name for node in facts.nodes if not node.is_ready or node.is_cordoned]
    but = f"; not taking pods: {', '.join(names)}" if names else ""
    return [f"nodes    {ready} of {len(facts.nodes)} ready{f', Kubernetes {versions}' if versions else ''}{but}"]


def _certificate(facts: Facts) -> list[str]:
    if facts.certificate is None:
        return []
    days = (facts.certificate.ends_s - facts.now_s) / DAY_S
    names = f", for {', '.join(facts.certificate.names[:3])}" if facts.certificate.names else ""
    ends = f"ends in {days:.0f} days" if days > 0 else f"ended {-days:.0f} days ago"
    return [f"TLS      {facts.certificate.secret} {ends}{names}"]
