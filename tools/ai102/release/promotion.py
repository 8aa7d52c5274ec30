"""Promote, rollback and abort: a release checked, put into the Deployment, waited for, and recorded."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai102.errors import UserError
from ai102.release import changes, references, standing
from ai102.release.deployment import Deployment, Running
from ai102.release.envelope import Envelope
from ai102.release.history import Event, Outcome, What
from ai102.release.rollout import Cluster, RefusedError
from ai102.release.store import Store
from ai102.release.trust import trusted

# Of what no release of the store describes.
RUNS = "what runs"
# Until all pods are ready; with a Canary they are judged before, and get their calls in steps.
ROLLED_OUT_S, LED_S = 300.0, 1800.0


class IncompatibleError(UserError):
    """Callers of what is in service would fail."""

    exit_status = 1


@dataclass(frozen=True)
class Promotion:
    """`keys` is the folder of known keys, for messages; `why` is kept in the history."""

    cluster: Cluster
    store: Store
    keys: Path
    who: str
    now: Callable[[], str]
    why: str
    timeout_s: float | None = None

    def promote(self, name: str, without: Collection[str] = ()) -> str:
        """Put a signed release into service; gives its name. `without` are models that may go.

        Raises IncompatibleError when callers would fail, NotReadyError when its pods are not ready in time, and
        RefusedError when a Canary leads it and it did not pass.
        """
        envelope = self._trusted(name)
        deployment = self._deployment()
        target = _running(envelope)
        if deployment.running == target:  # it was checked before its rollout began
            return self._roll_out("promoted", envelope.name, deployment, target, deployment.before)
        before = _before(deployment)
        self._check(envelope, before, without)
        return self._roll_out("promoted", envelope.name, deployment, target, before)

    def rollback(self, name: str = "") -> str:
        """Return to an earlier signed release, by default the one before; gives its name. It is not judged.

        Raises UserError when it is not known which one that is.
        """
        deployment = self._deployment()
        current = self._title(deployment.running)
        if not name:
            if not deployment.progress.is_done:
                on = f", `ai102 release promote {current}` waits on" if current else ""
                raise UserError(f"the rollout of {current or RUNS} has not ended: `ai102 release abort` ends it{on}")
            name = standing.before(self.store.history.events(), current, deployment.uid)
        if not name:
            last = deployment.before.release if deployment.before else ""
            hint = f", and the Deployment says that {last} was the last one to go" if last else ""
            raise UserError(
                f"the history does not say what was in service before {current or RUNS}: name a release; "
                f"`ai102 release list` has them{hint}"
            )
        envelope = self._trusted(name)
        target = _running(envelope)
        return self._roll_out("rolled-back", current or envelope.name, deployment, target, _before(deployment))

    def abort(self) -> str:
        """End a rollout that goes on by returning to what ran before it; gives its name, or its images without one.

        Raises UserError when no rollout goes on.
        """
        deployment = self._deployment()
        current = self._title(deployment.running)
        if deployment.progress.is_done:
            raise UserError(
                f"no rollout goes on: {current or RUNS} is on all pods; "
                "`ai102 release rollback` returns to the one before"
            )
        if deployment.before is None:
            raise UserError(
                f"the Deployment does not say what ran before {current or RUNS}: "
                "name a release, as `ai102 release rollback NAME`"
            )
        return self._roll_out("aborted", current or deployment.before.release, deployment, deployment.before, None)

    def _roll_out(
        self, what: What, subject: str, deployment: Deployment, target: Running, before: Running | None
    ) -> str:
        title = target.release or " ".join(references.short(image) for image in target.images)
        is_there = deployment.running == target and deployment.progress.is_done
        if is_there and standing.in_service(self.store.history.events()).get(self.cluster.place) == target.release:
            self.cluster.say(f"{title} is in service already")
            return title
        detail: dict[str, Any] = {"deployment": deployment.uid, "server": target.server, "models": target.models}
        detail |= {"before": before.release if before else ""} if what == "promoted" else {"to": target.release}
        if not is_there:  # else its end alone was not seen, by a program that was ended or whose time was over
            self._record(what, subject, "started", self.why, detail)
        limit_s = self.timeout_s or (LED_S if deployment.canary else ROLLED_OUT_S)
        try:
            advice = self._advice(what, target, before)
            if not is_there:
                self.cluster.judge(deployment, what == "promoted")
                if what != "promoted":
                    self._bring_back(deployment, target, title, limit_s, advice)
            is_unseen = what == "promoted" and deployment.is_unseen
            if not is_there and (deployment.template != target or deployment.is_refused or is_unseen):
                self.cluster.change(deployment, target, before)
            progress = self.cluster.wait(title, limit_s, advice)
        except UserError as err:
            if isinstance(err, RefusedError) and what != "promoted":
                self._judge_again()
            self._record(what, subject, "failed", str(err), detail)
            raise
        if deployment.canary and what != "promoted":
            self._judge_again()
        self._record(what, subject, "ok", self.why, {**detail, "pods": progress.updated})
        return title

    def _bring_back(self, deployment: Deployment, target: Running, title: str, limit_s: float, advice: str) -> None:
        """Where a Canary leads, change the pods in service at once. Flagger follows, without a change for callers."""
        primary = deployment.primary
        if deployment.canary is None or primary is None or not deployment.canary.has_no_calls:
            return
        if primary.template != target:
            self.cluster.change_primary(deployment, target)
        self.cluster.wait(title, limit_s, advice, of_primary=True)
        self.cluster.say(f"{title}: all callers have it; Flagger follows")

    def _judge_again(self) -> None:
        """After a way back, which was not judged."""
        try:
            self.cluster.judge(self.cluster.deployment(), True)
        except UserError as err:
            self.cluster.say(f"the next `ai102 release promote` has to set the Canary's skipAnalysis to false: {err}")

    def _advice(self, what: What, target: Running, before: Running | None) -> str:
        if what == "promoted" and before:
            back = before.release or "what ran before"
            return f"wait longer with the same command, or return to {back} with `ai102 release abort`"
        wait = f"`ai102 release rollback {target.release}` waits on, " if target.release else ""
        return f"{wait}`ai102 cluster status` says what is wrong"

    def _check(self, envelope: Envelope, before: Running, without: Collection[str]) -> None:
        """Compare with what callers have now. Raises IncompatibleError."""
        serving = self._serving(before)
        if serving is None:
            images = " with ".join(references.short(image) for image in before.images)
            self.cluster.say(
                f"{images}, which is in service, is no release of this store: whether callers can go on was not checked"
            )
            return
        found = changes.changes(serving.release.document, envelope.release.document)
        removed = [each.model for each in found if each.section == "models" and each.breaks]
        if unknown := sorted(set(without) - set(removed)):
            raise UserError(f"--without {unknown[0]}: {envelope.name} does not remove such a model from {serving.name}")
        broken = [each for each in changes.breaking(found) if not (each.section == "models" and each.model in without)]
        if broken:
            first = f"{broken[0].subject}: {broken[0].before} -> {broken[0].after} ({broken[0].breaks})"
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            raise IncompatibleError(
                f"{envelope.name} would break callers of {serving.name}, which is in service: {first}{more}: "
                f"{changes.how_to_ship(broken)}; `ai102 release diff {serving.name} {envelope.name}` has all"
            )

    def _serving(self, running: Running) -> Envelope | None:
        """The release of this store that has these images; None where none has."""
        name = self._named(running)
        if not name:
            return None
        if name not in self.store.names():
            raise UserError(
                f"{name} is in service and is not in {self.store.folder}: copy {name}.json there, "
                "so that it can be compared"
            )
        return self.store.get(name)

    def _named(self, running: Running) -> str:
        """The release that the annotation names, or else, as after `kubectl apply`, the newest with these images.

        Empty where it is none of this store, unless the annotation names it. Raises UserError for a file that somebody
        has changed.
        """
        names = self.store.names()
        if running.release in names and _running(self.store.get(running.release)).images == running.images:
            return running.release
        same = [each.name for each in self.store.all()[0] if _running(each).images == running.images]
        return same[-1] if same else ("" if running.release in names else running.release)

    def _title(self, running: Running) -> str:
        """Its name for people and the history; a file that somebody has changed does not keep one from going back."""
        try:
            return self._named(running)
        except UserError:
            return running.release

    def _trusted(self, name: str) -> Envelope:
        envelope = self.store.get(name)
        trusted(envelope, self.store.known, self.keys)
        return envelope

    def _deployment(self) -> Deployment:
        deployment = self.cluster.deployment()
        if deployment.is_paused:
            raise UserError("Deployment triton is paused: `kubectl rollout resume deployment triton` first")
        if deployment.canary and deployment.canary.is_suspended:
            name = deployment.canary.name
            patch = '{"spec": {"suspend": false}}'
            raise UserError(
                f"Canary {name} is suspended: `kubectl patch canary {name} --type=merge --patch '{patch}'` first"
            )
        return deployment

    def _record(self, what: What, subject: str, outcome: Outcome, why: str, detail: dict[str, Any]) -> None:
        at, place = self.now(), self.cluster.place
        event = Event(at, subject, what, self.who, outcome=outcome, why=why, place=place, detail=detail)
        try:
            self.store.record(event)
        except (UserError, OSError) as err:
            if what == "promoted":
                raise
            self.cluster.say(f"not recorded ({err})")  # a way back must not need a disk


def _running(envelope: Envelope) -> Running:
    images = envelope.release.document.images
    return Running(envelope.name, images.server, images.models)


def _before(deployment: Deployment) -> Running:
    """What callers have: while a rollout goes on, that is what ran before it."""
    if deployment.progress.is_done or deployment.before is None:
        return deployment.running
    return deployment.before
