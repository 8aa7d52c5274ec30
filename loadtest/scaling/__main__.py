"""The command `python -m loadtest.scaling`; it runs where the cluster's nodes and pods can be reached."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ai102 import contract as contracts
from ai102.artifact import write_text
from ai102.contract import Contract
from ai102.contract.goals import goals_of
from ai102.errors import UserError
from ai102.kubernetes.scaling import Thresholds
from ai102.monitoring.capacity import capacities_of
from loadtest.scaling import scenarios, setting_up, tables
from loadtest.scaling.calibrating import Carried, carried
from loadtest.scaling.kubectl import Kubectl
from loadtest.scaling.load import Callers, callers
from loadtest.scaling.policies import FOLDER, GATEWAY_PORT, ROOT, Policy, Setting, policy_named
from loadtest.scaling.replay import due_times
from loadtest.traces.reading import trace_named

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

KubectlLine = Annotated[str, typer.Option("--kubectl", help="kubectl, with the options that name the cluster.")]
Apply = Annotated[str, typer.Option(help="The command that applies a kustomization; the folder is put behind it.")]
Hosts = Annotated[str, typer.Option(help="Addresses of nodes, with commas.")]
Model = Annotated[str, typer.Option(help="The pipeline that is called.")]
Only = Annotated[str, typer.Option(help="Models that a replica loads, with commas; default: all of the repository.")]
Millicores = Annotated[int, typer.Option(help="The processor of a replica: its limit.")]
Most = Annotated[int, typer.Option(help="The most replicas.")]
CA = ROOT / "build" / "kubernetes" / "secrets" / "certs" / "ca.pem"


class Bench:
    """One cluster, one kind of replica, one pipeline: what the commands share."""

    def __init__(self, kubectl: str, apply: str, hosts: str, model: str, only: str, millicores: int, most: int) -> None:
        self.kubectl = Kubectl(tuple(shlex.split(kubectl)))
        self.applying = tuple(shlex.split(apply))
        self.url = "grpcs://" + ",".join(f"{host}:{GATEWAY_PORT}" for host in hosts.split(","))
        self.model, self.most, self.millicores = model, most, millicores
        self.only = tuple(name for name in only.split(",") if name)
        self.contract: Contract = contracts.load(ROOT / "models.toml")

    def setting(self, one: Carried | None, *, down_after_s: int = 30, down_every_s: int = 10) -> Setting:
        """Thresholds for a replica that carries what was measured; without that, whatever: nothing scales by them."""
        capacity = capacities_of(self.contract, ROOT / "loadtest" / "capacity.json")[self.model]
        used = self.contract.scaling.used_percent / 100
        busy, in_flight = (used * one.rate / capacity.rate, one.in_flight / capacity.in_flight) if one else (1.0, 1.0)
        thresholds = Thresholds(1, self.most, round(busy, 4), round(in_flight, 4))
        return Setting(thresholds, self.millicores, 250, self.only, down_after_s, down_every_s)

    def callers(self) -> Callers:
        """With a token and the answers of an idle server; the cluster must serve."""
        goal_ms = goals_of(self.contract)[self.model].p99_ms
        token = setting_up.token(self.kubectl)
        return callers(ROOT / "models.toml", self.url, token, CA, "gateway", self.model, goal_ms, 64)

    def calibrated(self) -> tuple[Callers, Carried]:
        """Callers, and what one replica carries."""
        setting_up.apply(self.kubectl, self.applying, Policy("fixed", 1), self.setting(None))
        who = self.callers()
        return who, carried(who, time.monotonic, say)

    def use(self, policy: Policy, setting: Setting) -> None:
        say(f"{policy}: applied, waiting for its fewest replicas")
        setting_up.apply(self.kubectl, self.applying, policy, setting)


@app.command()
def replay(
    trace: Annotated[str, typer.Option(help="A file, or a name: loadtest/traces, and the folder TRACES.")],
    policies: Annotated[str, typer.Option(help="keda, hpa-adapter, cpu, fixed:N, with commas.")] = "keda,cpu,fixed:2",
    from_hour: Annotated[float, typer.Option(help="Of the trace.")] = 0.0,
    hours: Annotated[float, typer.Option(help="Of the trace.")] = 24.0,
    length_s: Annotated[float, typer.Option(help="How long they take here.")] = 240.0,
    peak: Annotated[float, typer.Option(help="The highest load, in replicas that are as busy as they are meant.")] = 4,
    kubectl: KubectlLine = "kubectl",
    apply: Apply = "kubectl apply -k",
    hosts: Hosts = "10.99.0.2",
    model: Model = "embed_text",
    only: Only = "",
    millicores: Millicores = 250,
    most: Most = 4,
) -> None:
    """Replay a trace, compressed in time, once for each policy, and print what callers saw and what it cost."""
    recorded = trace_named(trace, os.environ).between(from_hour * 3600, (from_hour + hours) * 3600)
    chosen = [policy_named(text) for text in policies.split(",")]
    bench = Bench(kubectl, apply, hosts, model, only, millicores, most)
    setting_up.give_rules(bench.kubectl)
    who, one = bench.calibrated()
    setting = bench.setting(one)
    highest = peak * bench.contract.scaling.used_percent / 100 * one.rate
    rows = {}
    for policy in chosen:
        bench.use(policy, setting)
        run = scenarios.replayed(bench.kubectl, who, due_times(recorded, length_s, highest), length_s)
        rows[str(policy)] = run
        say(tables.line_of(str(policy), run))
        for error in run.driven.errors:
            say(f"  {error}")
        facts = {"trace": trace, "hours": hours, "length_s": length_s, "peak": highest, "one": asdict(one)}
        _keep(
            f"replay-{recorded.name}.json", {"facts": facts, "runs": {name: asdict(row) for name, row in rows.items()}}
        )
    say(tables.table_of(rows, who.goal_ms))


@app.command()
def step(
    policy: Annotated[str, typer.Option(help="keda or hpa-adapter.")] = "keda",
    before_s: Annotated[float, typer.Option(help="Time before the step.")] = 30.0,
    after_s: Annotated[float, typer.Option(help="Time after it.")] = 45.0,
    kubectl: KubectlLine = "kubectl",
    apply: Apply = "kubectl apply -k",
    hosts: Hosts = "10.99.0.2",
    model: Model = "embed_text",
    only: Only = "",
    millicores: Millicores = 1000,
    most: Most = 2,
) -> None:
    """A step of the load from 30 % to 100 % of one replica: the parts of the time to the new replica's first answer."""
    bench = Bench(kubectl, apply, hosts, model, only, millicores, most)
    setting_up.give_rules(bench.kubectl)
    who, one = bench.calibrated()
    setting = bench.setting(one)
    bench.use(policy_named(policy), setting)
    parts, run = scenarios.stepped(bench.kubectl, who, one, setting.thresholds, before_s=before_s, after_s=after_s)
    for what, took_s in scenarios.lines_of(parts):
        say(f"{took_s:6.2f} s  {what}")
    say(f"{parts.answered_s:6.2f} s  from the step to the first answer")
    say(tables.line_of(policy, run))
    _keep(f"step-{policy}.json", {"one": asdict(one), "parts": asdict(parts), "account": asdict(run.account)})


@app.command()
def start(
    times: Annotated[int, typer.Option(help="How many replicas are started, one after another.")] = 5,
    kubectl: KubectlLine = "kubectl",
    apply: Apply = "kubectl apply -k",
    hosts: Hosts = "10.99.0.2",
    model: Model = "embed_text",
    only: Only = "",
    millicores: Millicores = 1000,
) -> None:
    """A second replica is started and ended again, under a light load: the parts of the time to its first answer."""
    bench = Bench(kubectl, apply, hosts, model, only, millicores, 2)
    bench.use(Policy("fixed", 1), bench.setting(None))
    who = bench.callers()
    rows = []
    for number in range(times):
        started = scenarios.started(bench.kubectl, who)
        rows.append(asdict(started))
        words = ", ".join(f"{what} {took_s:.2f} s" for what, took_s in started.lines)
        say(f"start {number + 1}: {words}; first answer after {started.answered_s:.2f} s, {started.failed} failed")
    _keep("start.json", {"millicores": millicores, "models": only, "starts": rows})


@app.command()
def outage(
    policy: Annotated[str, typer.Option(help="keda or hpa-adapter.")] = "keda",
    peak_s: Annotated[float, typer.Option(help="Time at the peak, until Prometheus ends.")] = 45.0,
    gone_s: Annotated[float, typer.Option(help="Time without it.")] = 60.0,
    quiet_s: Annotated[float, typer.Option(help="Time after it is back, at low load.")] = 75.0,
    kubectl: KubectlLine = "kubectl",
    apply: Apply = "kubectl apply -k",
    hosts: Hosts = "10.99.0.2",
    model: Model = "embed_text",
    only: Only = "",
    millicores: Millicores = 1000,
    most: Most = 2,
) -> None:
    """Prometheus is killed at the peak: the replicas stay. It comes back at low load: a replica goes, no call fails."""
    bench = Bench(kubectl, apply, hosts, model, only, millicores, most)
    setting_up.give_rules(bench.kubectl)
    who, one = bench.calibrated()
    bench.use(policy_named(policy), bench.setting(one, down_after_s=15))
    seen = scenarios.outage(bench.kubectl, who, one, peak_s=peak_s, gone_s=gone_s, quiet_s=quiet_s)
    say(
        f"{seen.replicas_before} replicas when Prometheus ended, {seen.fewest_while_gone} after {gone_s:g} s without it"
    )
    say(f"{seen.ended} replicas went when it was back; {seen.failed} of {seen.calls} calls failed")
    _keep(f"outage-{policy}.json", asdict(seen))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _keep(name: str, document: Any) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_text(Path(FOLDER / name), json.dumps(document, indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """A user error prints its lines on stderr and exits with 2."""
    try:
        app(arguments, prog_name="python -m loadtest.scaling")
    except UserError as err:
        sys.stderr.write(f"{err}\n")
        sys.exit(err.exit_status)


if __name__ == "__main__":
    main()
