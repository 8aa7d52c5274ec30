"""Real servers with bad and good releases: each bad one is stopped, with the right reason; no good one is.

A few run with the other tests. The rest: AI102_ALL_RELEASES=1 pytest -m e2e tests/judging/test_releases.py
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai102.contract import load
from ai102.judging import report
from ai102.judging.judgement import Judgement, judge_between
from ai102.judging.memory import of_process
from ai102.judging.subject import subjects_of
from tests.judging.bad.repository import GOOD, ROOT, make
from tests.servers import Server

pytestmark = pytest.mark.e2e
# What a stop says, and whether it runs always.
STOPPED = {
    "labels shuffled": (r"answers: \d+ right answers lost", True),
    "wrong resize": (r"(answers|calibration): ", False),
    "corrupted weights": (r"constant answers: ", False),
    "stale weights": (r"(scores|answers|calibration): ", False),
    "NaN for one class": (r"form of answers: .*NaN or infinity", False),
    "one answer": (r"constant answers: ", False),
    "twice the latency": (r"latency: classify_image, .* times as long", False),
    # A slow machine needs so long for the pages that latency shows it first.
    "leak of 2 MB a call": (r"memory: .* a leak|latency: classify_image, .* times as long", True),
    "crash at the 500th call": (r"errors: .*(Stub process|ended)", False),
    "1 % errors": (r"errors: .*a lock was not released", False),
    "answers swapped": (r"identity: .*do not belong to their requests", False),
    "truncated tokenizer": (r"(answers|distance|formats): ", False),
    "inverted colours": (r"(answers|constant answers): ", False),
    "orientation ignored": (r"formats: .*turned by EXIF", False),
    "stale INT8": (r"(scores|answers|calibration): ", False),
    "wrong version policy": (r"(scores|answers|calibration): ", False),
    "scores in percent": (r"calibration: .*are no probabilities", False),
    "answers kept by length": (r"(identity|answers|floor): ", False),
    "garbage is answered": (r"refusals: ", False),
    "slow at batch 8": (r"latency: classify_image, .* times as long", False),
    "no warm-up": (r"first calls: ", False),
    "crash on large images": (r"errors: .*(Stub process|ended)", False),
    "JPEG fails": (r"(formats|errors): ", False),
    "deadlock": (r"errors: ", False),
}
# Of a network of a millisecond two cores compute as fast without it: the gate sees no harm, and there is none.
HARMLESS_HERE = ("no batching",)
ALL = bool(os.environ.get("AI102_ALL_RELEASES"))
OUT = os.environ.get("AI102_RELEASES_OUT", "")  # a folder for the reports
ON_REQUEST = pytest.mark.skipif(not ALL, reason="takes a server and up to half a minute: AI102_ALL_RELEASES=1 runs it")
CONTRACT = load(ROOT / "models.toml")


@pytest.fixture(scope="module")
def in_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pipelines = ["classify_image", "score_image"] + ["embed_text"] * ALL
    with Server(
        ROOT / "model_repository", http_port=0, grpc_port=0, metrics_port=0, models=pipelines,
        log=tmp_path_factory.mktemp("log") / "log",
    ) as started:  # fmt: skip
        yield started


def judged(name: str, folder: Path, in_service: Server) -> Judgement:
    repository, pipeline = make(name, folder / "repository")
    with Server(repository, http_port=0, grpc_port=0, metrics_port=0, log=folder / "log") as server:
        subjects = subjects_of(CONTRACT, ROOT / "calibration" / "sets", [pipeline])
        judgement = Judgement(f"grpc://{server.grpc_url}", f"grpc://{in_service.grpc_url}", 0.1)
        judge_between(judgement, subjects, {}, None, of_process(server.pid))
        if OUT:
            report.write(judgement, Path(OUT), name.replace(" ", "-"))
        return judgement


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if always else ON_REQUEST) for name, (_, always) in STOPPED.items()]
)
def test_a_bad_release_is_stopped_with_its_reason(name: str, tmp_path: Path, in_service: Server) -> None:
    judgement = judged(name, tmp_path, in_service)
    assert (judgement.verdict, bool(re.search(STOPPED[name][0], judgement.reason))) == ("stop", True), judgement.reason


@pytest.mark.parametrize("name", [pytest.param(name, marks=ON_REQUEST) for name in (*GOOD, *HARMLESS_HERE)])
def test_a_good_release_is_promoted(name: str, tmp_path: Path, in_service: Server) -> None:
    judgement = judged(name, tmp_path, in_service)
    assert judgement.verdict == "promote", judgement.reason
