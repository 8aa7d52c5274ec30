"""Releases of the harness's models, signed, and `ai102 release` that leads them into the cluster."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ai102.cluster.asking import Kubectl
from ai102.release import keys
from ai102.release.document import Images
from ai102.release.history import History
from ai102.release.promotion import Promotion
from ai102.release.rollout import Cluster
from ai102.release.store import Store
from k8s.local import api, loading
from k8s.local.waiting import until
from tests.cluster.calls.stack import NAMESPACE, Stack
from tests.cluster.mesh.looking import inferences
from tests.release.documents import BUILT, release

QUESTION_S = 60.0
TAKEN_OVER_WITHIN_S = 400.0
ENDED_WITHIN_S = 120.0


@dataclass
class Releases:
    """A store of the stack's releases; `said` is what the commands print meanwhile.

    `back_s` is when callers had an earlier release again.
    `answered` has, for each share of the calls that a release got, how many its pods had answered when that began.
    """

    stack: Stack
    folder: Path
    said: list[str] = field(default_factory=list)
    answered: dict[int, int] = field(default_factory=dict)
    back_s: float = 0.0

    def __post_init__(self) -> None:
        self.known.mkdir()
        keys.new(self.folder / "ann")
        keys.public_file(self.folder / "ann").rename(self.known / "ann.pub")

    @property
    def known(self) -> Path:
        return self.folder / "known"

    def kept(self, models: str) -> str:
        """The name of a signed release of that models image and the server image that runs."""
        server = loading.loaded(self.stack.plan)["ai102/server"]
        document = release("b", images=Images(server=server, models=models))
        return self._store().add(document, BUILT, keys.signer(self.folder / "ann"))[0].name

    def made(self, version: str, change: Callable[[Path], None] = lambda repository: None) -> str:
        return self.kept(self.stack.release_models(version, change))

    def say(self, line: str) -> None:
        self.said.append(line)
        if "all callers have it" in line:
            self.back_s = time.monotonic()
        if (share := share_in(line)) and share not in self.answered:
            self.answered[share] = sum(inferences(self.stack).values())

    def promotion(self) -> Promotion:
        program, *options = api.kubectl_command(self.stack.plan, self.stack.kubectl_program, [])
        cluster = Cluster(Kubectl(program, tuple(options), NAMESPACE, QUESTION_S), "test", self.say)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Promotion(cluster, self._store(), self.known, "ann", lambda: now, "")

    def _store(self) -> Store:
        return Store(self.folder / "store", History(self.folder / "store" / "history.db"), keys.known(self.known))


def share_in(line: str) -> int:
    """Percent of the calls that a release gets, where the line says it; else 0."""
    found = re.search(r"(\d+) % of the calls go to it", line)
    return int(found[1]) if found else 0


def wait_taken_over(stack: Stack) -> None:
    """Until Flagger leads Triton. Raises UserError when that takes too long."""
    until(lambda: status(stack).get("phase") == "Initialized", "Flagger has taken Triton over", TAKEN_OVER_WITHIN_S)


def settle(stack: Stack) -> None:
    """Until nothing is on trial: the pods in service are ready, and there are no others."""
    until(
        lambda: not stack.pods("triton") and not stack.ending("triton") and len(stack.ready("triton-primary")) == 2,
        "two replicas are in service, and none on trial",
        ENDED_WITHIN_S,
    )


def in_service(stack: Stack) -> str:
    """The release that callers have."""
    item = api.get(stack.plan, f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/triton-primary")
    return str(item["spec"]["template"]["metadata"]["annotations"].get("ai102.example/release", ""))


def status(stack: Stack) -> dict[str, Any]:
    """Of the Canary; empty before Flagger has seen it."""
    item = api.get(stack.plan, f"/apis/flagger.app/v1beta1/namespaces/{NAMESPACE}/canaries/triton")
    return dict((item or {}).get("status", {}))


def weights(stack: Stack) -> dict[str, int]:
    """Percent of the calls by Service, as the mesh has it."""
    item = api.get(stack.plan, f"/apis/networking.istio.io/v1beta1/namespaces/{NAMESPACE}/virtualservices/triton")
    return {each["destination"]["host"]: each.get("weight", 0) for each in item["spec"]["http"][0]["route"]}


def with_another_vocabulary(repository: Path) -> None:
    """Each word has the number of the next one: texts are embedded, with status 200, as others."""
    (file,) = repository.glob("embed_text/1/*/tokenizer.json")
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    words = [word for word in vocabulary if word.isalpha()]
    numbers = [vocabulary[word] for word in words]
    vocabulary |= dict(zip(words, [*numbers[1:], numbers[0]], strict=True))
    file.write_text(json.dumps(tokenizer), encoding="utf-8")
