"""Promote, rollback and abort against a fake kubectl that keeps a Deployment in a file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ai102.cluster.asking import Kubectl
from ai102.errors import UserError
from ai102.release import keys
from ai102.release.deployment import Running, deployment_from
from ai102.release.history import Event, History
from ai102.release.promotion import IncompatibleError, Promotion
from ai102.release.rollout import Cluster, NotReadyError, context_of
from ai102.release.store import Store
from tests.release import fake_kubectl
from tests.release.documents import BUILT, LABELS, NETWORK, PIPELINE, pipeline, release
from tests.release.fake_kubectl import MODELS, SERVER, deployment

PACE_S = 0.01
BASE = Running("", SERVER, MODELS)
MORE = {**pipeline(), "more": PIPELINE}


@dataclass(frozen=True)
class KubectlHere(Kubectl):
    """The fake without a process of its own, since a rollout asks it fifty times."""

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        said = fake_kubectl.asked(list(words), Path(self.program))
        return subprocess.CompletedProcess(words, said.status, said.output, said.complaint)


@dataclass
class Site:
    """A store, its keys, and a cluster that is a file."""

    root: Path
    said: list[str]

    def __post_init__(self) -> None:
        fake_kubectl.begin(self.file)
        keys.new(self.root / "ann")
        keys.public_file(self.root / "ann").rename(self.known / "ann.pub")

    @property
    def file(self) -> Path:
        return self.root / "cluster.json"

    @property
    def known(self) -> Path:
        folder = self.root / "known"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def store(self) -> Store:
        return Store(self.root / "store", History(self.root / "store" / "history.db"), keys.known(self.known))

    def release(self, digit: str, *, is_signed: bool = True, **changes: Any) -> str:
        """One that is built; its digit makes the digest of its models image, and orders it by time."""
        signer = keys.signer(self.root / "ann") if is_signed else None
        built = BUILT.model_copy(update={"at": f"2026-11-29T12:00:{ord(digit) - 97:02}+00:00"})
        return self.store.add(release(digit, **changes), built, signer)[0].name

    def promotion(self, timeout_s: float = 60.0, why: str = "") -> Promotion:
        kubectl = KubectlHere(str(self.file), (), "ai102", 60.0)
        cluster = Cluster(kubectl, context_of(kubectl, ""), self.said.append, PACE_S)
        return Promotion(cluster, self.store, self.known, "ann", lambda: "now", why, timeout_s)

    def promote(self, name: str, without: Collection[str] = (), timeout_s: float = 60.0) -> str:
        return self.promotion(timeout_s).promote(name, without)

    def set(self, **changes: Any) -> None:
        """Of the cluster: how rollouts go, or its Deployment."""
        state = json.loads(self.file.read_text())
        self.file.write_text(json.dumps({**state, **changes}))

    @property
    def running(self) -> Running:
        return deployment_from(json.loads(self.file.read_text())["deployment"]).running

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Of the history, those of the cluster."""
        events = [event for event in self.store.history.events() if event.what not in ("built", "signed")]
        return [(event.release, event.what, event.outcome) for event in events]

    @property
    def patches(self) -> int:
        return sum(words[0] == "patch" for words in json.loads(self.file.read_text())["calls"])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, [])


def test_a_signed_release_comes_into_service_with_one_patch(site: Site) -> None:
    one = site.release("b")
    assert site.promote(one[:8]) == one
    assert site.running == Running(one, *release("b").document.images.model_dump().values())
    assert site.rows == [(one, "promoted", "started"), (one, "promoted", "ok")]
    assert site.patches == 1
    assert "server:0.2.0 with models:0.2.0, which is in service, is no release of this store" in site.said[0]
    event = site.store.history.events()[-1]
    assert (event.place, event.detail["before"], event.detail["pods"]) == ("fake/ai102", "", 3)


def test_what_no_known_key_signed_is_refused_and_nothing_is_done(site: Site) -> None:
    unsigned = site.release("b", is_signed=False)
    with pytest.raises(UserError, match=r"no known key has signed it: signed by nobody; .* \(ann\)"):
        site.promote(unsigned)
    signed = site.release("c")
    (site.known / "ann.pub").unlink()
    with pytest.raises(UserError, match=r"signed by [0-9a-f]{16} \(by ann, .*known keys in .*: none"):
        site.promote(signed)
    with pytest.raises(UserError, match="no known key has signed it"):
        site.promotion().rollback(signed)
    assert (site.running, site.rows, site.patches) == (BASE, [], 0)


def test_a_changed_release_is_refused(site: Site) -> None:
    one = site.release("b")
    file = site.root / "store" / f"{one}.json"
    file.write_text(file.read_text().replace('"max_batch_size":64', '"max_batch_size":32'))
    with pytest.raises(UserError, match="somebody has changed or renamed the file"):
        site.promote(one)
    assert site.patches == 0


def test_what_breaks_callers_is_no_canary_and_the_way_is_told(site: Site) -> None:
    one, two = site.release("b"), site.release("c", models=pipeline(labels=LABELS[::-1]))
    site.promote(one)
    with pytest.raises(IncompatibleError) as refused:
        site.promote(two)
    assert str(refused.value) == (
        f"{two} would break callers of {one}, which is in service: classify: 3 labels -> 3 labels, in another order "
        "(a place of the scores means another label): serve what changed under another name beside classify (another "
        "table in models.toml), promote both, move the callers, and remove the old name in a later release; "
        f"`ai102 release diff {one} {two}` has all"
    )
    assert site.running.release == one


def test_a_model_that_nobody_asks_for_may_go(site: Site) -> None:
    one, two = site.release("b", models=MORE), site.release("c")
    site.promote(one)
    with pytest.raises(IncompatibleError, match="promote with --without more"):
        site.promote(two)
    with pytest.raises(UserError, match=f"--without classify: {two} does not remove such a model from {one}"):
        site.promote(two, ["classify"])
    assert site.promote(two, ["more"]) == two


def test_without_a_model_the_rest_is_compared(site: Site) -> None:
    one, two = site.release("b", models=MORE), site.release("c", models=pipeline(is_decoupled=True))
    site.promote(one)
    with pytest.raises(IncompatibleError, match="another number of answers"):
        site.promote(two, ["more"])


def test_rollback_returns_step_by_step_and_asks_no_callers(site: Site) -> None:
    one, two, three = site.release("b"), site.release("c", models=MORE), site.release("d", models=MORE)
    for name in (one, two, three):
        site.promote(name)
    assert [site.promotion(why="it was slow").rollback() for _ in range(2)] == [two, one]
    assert site.running.release == one
    assert site.rows[-2:] == [(two, "rolled-back", "started"), (two, "rolled-back", "ok")]
    last = site.store.history.events()[-1]
    assert (last.why, last.detail["to"]) == ("it was slow", one)
    with pytest.raises(UserError) as refused:
        site.promotion().rollback()
    assert str(refused.value) == (
        f"the history does not say what was in service before {one}: name a release; `ai102 release list` has them, "
        f"and the Deployment says that {two} was the last one to go"
    )
    assert site.promotion().rollback(three) == three


def test_a_release_whose_pods_do_not_get_ready_is_told_with_what_they_say(site: Site) -> None:
    one, two = site.release("b"), site.release("c")
    site.promote(one)
    site.set(rollout="crash")
    with pytest.raises(NotReadyError) as failed:
        site.promote(two, timeout_s=0.5)
    assert str(failed.value) == (
        f"{two} is not ready after 0.5 s: 1 of 3 pods are of it, and 3 that ran before go on; 3 of all are ready; "
        "triton (triton-2-a): container triton ends with status 1, restarted 3 times; wait longer with the same "
        f"command, or return to {one} with `ai102 release abort`"
    )
    assert failed.value.exit_status == 4
    assert site.rows[-1] == (two, "promoted", "failed")
    with pytest.raises(UserError, match=f"`ai102 release abort` ends it, `ai102 release promote {two}` waits on"):
        site.promotion().rollback()
    site.set(next="good")
    assert site.promotion().abort() == one
    assert site.running.release == one
    assert site.rows[-1] == (two, "aborted", "ok")
    with pytest.raises(UserError, match=f"no rollout goes on: {one} is on all pods"):
        site.promotion().abort()


def test_a_rollout_over_its_own_deadline_is_not_waited_for(site: Site) -> None:
    site.set(rollout="stuck")
    with pytest.raises(NotReadyError, match="is stuck: 1 of 3 pods are of it"):
        site.promote(site.release("b"), timeout_s=600)


def test_a_promotion_that_was_ended_goes_on_with_the_same_command(site: Site) -> None:
    one, two = site.release("b"), site.release("c")
    site.promote(one)
    site.set(rollout="crash")
    with pytest.raises(NotReadyError):
        site.promote(two, timeout_s=0.5)
    site.set(rollout="good")
    assert site.promote(two) == two
    assert site.patches == 2
    assert site.rows[-1] == (two, "promoted", "ok")
    assert site.promotion().rollback() == one


def test_a_way_back_whose_time_was_over_goes_on_by_its_name(site: Site) -> None:
    one, two = site.release("b"), site.release("c")
    for name in (one, two):
        site.promote(name)
    site.set(rollout="crash")
    with pytest.raises(NotReadyError, match=f"`ai102 release rollback {one}` waits on, `ai102 cluster status` says"):
        site.promotion(0.5).rollback()
    site.set(rollout="good")
    assert site.promotion().rollback(one) == one
    assert (site.running.release, site.patches) == (one, 3)


def test_an_end_that_nobody_saw_is_recorded_later(site: Site) -> None:
    one = site.release("b")
    site.set(rollout="crash")
    with pytest.raises(NotReadyError):
        site.promote(one, timeout_s=0.5)
    site.set(rollout="good")
    site.promotion().cluster.wait(one, 60, "")
    assert site.promote(one) == one
    assert site.rows == [(one, "promoted", "started"), (one, "promoted", "failed"), (one, "promoted", "ok")]
    assert site.promote(one) == one
    assert site.said[-1] == f"{one} is in service already"
    assert len(site.rows) == 3


def test_while_a_rollout_goes_on_callers_have_what_ran_before(site: Site) -> None:
    """A third release is compared with the first, and an abort returns to the first."""
    one, two, three = site.release("b"), site.release("c", models=MORE), site.release("d")
    site.promote(one)
    site.set(rollout="crash")
    for name in (two, three):
        with pytest.raises(NotReadyError):
            site.promote(name, timeout_s=0.5)
    site.set(next="good")
    assert site.promotion().abort() == one


def test_the_abort_of_the_first_release_returns_to_the_images_of_the_overlay(site: Site) -> None:
    site.set(rollout="crash")
    with pytest.raises(NotReadyError, match="return to what ran before with `ai102 release abort`"):
        site.promote(site.release("b"), timeout_s=0.5)
    site.set(next="good")
    assert site.promotion().abort() == "server:0.2.0 models:0.2.0"
    assert site.running == BASE


def test_what_is_in_service_is_known_by_its_images_where_the_annotation_does_not_say(site: Site) -> None:
    """As after `kubectl apply` of an overlay with the digests of a release."""
    one, two = site.release("b", models=MORE), site.release("c")
    item = deployment()
    pod = item["spec"]["template"]["spec"]
    images = release("b").document.images
    pod["containers"][0]["image"], pod["volumes"][0]["image"]["reference"] = images.server, images.models
    item["spec"]["template"]["metadata"]["annotations"] = {"ai102.example/release": two}
    site.set(deployment=item)
    with pytest.raises(IncompatibleError, match=f"would break callers of {one}"):
        site.promote(two)


def test_a_release_of_another_store_cannot_be_compared(site: Site) -> None:
    one, two = site.release("b"), site.release("c")
    site.promote(one)
    (site.root / "store" / f"{one}.json").rename(site.root / "elsewhere.json")
    with pytest.raises(UserError, match=rf"{one} is in service and is not in .*: copy {one}\.json there"):
        site.promote(two)


def test_a_changed_file_of_what_is_in_service_stops_a_promotion_and_no_way_back(site: Site) -> None:
    one, two = site.release("b"), site.release("c")
    site.promote(one)
    site.promote(two)
    file = site.root / "store" / f"{two}.json"
    file.write_text(file.read_text().replace('"max_batch_size":64', '"max_batch_size":32'))
    with pytest.raises(UserError, match="somebody has changed or renamed the file"):
        site.promote(site.release("d"))
    assert site.promotion().rollback(one) == one


def test_a_way_back_needs_no_history(site: Site) -> None:
    one, two = site.release("b"), site.release("c")
    site.promote(one)
    site.promote(two)
    broken = replace(site.store, history=History(site.root / "nowhere" / "h.db"))
    assert replace(site.promotion(), store=broken).rollback(one) == one
    assert any(line.startswith("not recorded (") and "nowhere" in line for line in site.said)
    with pytest.raises(UserError, match="it cannot be opened"):
        replace(site.promotion(), store=broken).promote(two)
    assert site.running.release == one


def test_of_two_promotions_at_once_one_is_refused(site: Site) -> None:
    one, two = site.release("b"), site.release("c")
    late = site.promotion()
    read = late.cluster.deployment()
    site.promote(one)
    to = Running(two, *release("c").document.images.model_dump().values())
    with pytest.raises(UserError, match="was changed by somebody else meanwhile: nothing was done"):
        late.cluster.change(read, to, read.running)
    assert site.running.release == one


def test_a_cluster_that_is_busy_is_asked_again(site: Site) -> None:
    one = site.release("b")
    site.set(busy=2)
    assert site.promote(one) == one


def test_a_missing_deployment_is_one_line(site: Site) -> None:
    site.set(rollout="absent")
    with pytest.raises(UserError, match=r'deployments\.apps "triton" not found: .*name another namespace'):
        site.promote(site.release("b"))


def test_a_paused_deployment_is_not_touched(site: Site) -> None:
    item = deployment()
    item["spec"]["paused"] = True
    site.set(deployment=item)
    with pytest.raises(
        UserError, match="Deployment triton is paused: `kubectl rollout resume deployment triton` first"
    ):
        site.promote(site.release("b"))


def test_the_history_tells_what_the_gate_saw(site: Site) -> None:
    """The seam of the quality gate: a row of its own kind, with all that it saw."""
    one = site.release("b", models={"digits_int8": NETWORK})
    site.store.record(Event("now", one, "judged", "gate", outcome="failed", why="top-1", detail={"top1": 97.5}))
    assert site.rows == [(one, "judged", "failed")]
