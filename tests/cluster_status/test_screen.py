"""The screen has what is wrong at the top and fits a terminal; JSON has the same for programs."""

import io
import json
from dataclasses import replace

from rich.console import Console

from ai102.cluster.facts import Facts, Metric, Pod, Scaled, Scaler, Workload
from ai102.cluster.rules import findings
from ai102.cluster.screen import age, screen
from ai102.cluster.words import as_dict
from tests.cluster_status.test_rules import GATEWAY, IMAGE, OTHER, POD, TRITON, WELL, waiting

KEDA = replace(
    WELL,
    scaled=(Scaled("triton", "triton", (), ("arrivals", "in-flight")),),
    scalers=(
        Scaler("keda-hpa-triton", "triton", 3, 12, 4, 5, (
            Metric("s0-prometheus", "750m", "600m"), Metric("s1-prometheus", "", "1"))),
    ),
)  # fmt: skip


def lines_of(facts: Facts, width: int = 120) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=width, highlight=False).print(screen(facts, findings(facts)))
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_all_is_well_is_one_screen_with_pods_release_scaling_nodes_and_certificate() -> None:
    lines = lines_of(WELL)
    assert lines[0].endswith("namespace ai102, context here")
    assert lines[1:] == [
        "ALL WELL",
        "",
        "             READY   STATE  NODE  AGE   RESTARTS",
        "gateway      1 of 1",
        "  gateway-1          ready  n1    11 d  0",
        "triton       2 of 2",
        "  triton-1           ready  n1    60 s  0",
        "  triton-2           ready  n2    60 s  0",
        "",
        "IMAGE                               DIGEST        PODS    OF",
        "registry.example:5000/ai102/server  abababababab  2 of 2  triton",
        "",
        "scaling  triton: 2 replicas, no scaler",
        "nodes    2 of 2 ready",
        "TLS      gateway-certificate ends in 100 days",
    ]


def test_what_is_wrong_stands_at_the_top_with_its_next_step() -> None:
    facts = waiting("ImagePullBackOff", "rpc error: not found")
    lines = lines_of(facts, 110)
    assert lines[1] == "1 WRONG"
    assert lines[2].startswith(
        "  WRONG triton (triton-1): image registry.example:5000/ai102/server@sha256:abababababab cannot"
    )
    assert any("next: write the digest that `make push` printed" in line for line in lines)
    assert any(line.split()[:2] == ["triton-1", "ImagePullBackOff"] for line in lines)


def test_a_scaler_is_shown_with_the_names_of_its_triggers() -> None:
    assert (
        "scaling  triton: 4 replicas, 3 to 12 allowed, 5 wanted by arrivals 0.75 of 0.6, in-flight ? of 1"
        in lines_of(KEDA)
    )


def test_many_replicas_and_findings_are_still_one_screen() -> None:
    pods = tuple(replace(POD, name=f"triton-{number:02}") for number in range(30))
    lost = tuple(Pod(f"lost-{number}", f"lost-{number}", unscheduled="Insufficient cpu") for number in range(20))
    workloads = (replace(TRITON, wanted=30, ready=30), GATEWAY, Workload("StatefulSet", "prometheus", ready=1))
    lines = lines_of(replace(WELL, pods=(*pods, *lost), workloads=workloads))
    assert len(lines) <= 48
    assert any(line.strip() == "and 13 more: --json has them" for line in lines)
    assert any(line.strip() == "and 24 more" for line in lines)
    assert "support: prometheus 1 of 1" in lines


def test_two_digests_of_one_image_are_two_rows() -> None:
    (container,) = OTHER.containers
    other = replace(OTHER, containers=(replace(container, digest="sha256:" + "cd" * 32),))
    rows = [line.split() for line in lines_of(replace(WELL, pods=(POD, other))) if "ai102/server" in line]
    assert [row[1:5] for row in rows[-2:]] == [["abababababab", "1", "of", "2"], ["cdcdcdcdcdcd", "1", "of", "2"]]


def test_json_has_the_same_and_is_plain() -> None:
    facts = replace(KEDA, unread=("nodes is forbidden",))
    answer = json.loads(json.dumps(as_dict(facts, findings(facts))))
    assert answer["healthy"] is True
    assert answer["findings"] == []
    assert answer["pods"][0] == {
        "name": "triton-1", "workload": "triton", "role": "triton", "state": "ready", "ready": True, "node": "n1",
        "created": POD.created_s, "restarts": 0,
    }  # fmt: skip
    assert answer["release"] == [
        {
            "image": IMAGE.partition("@")[0],
            "version": "sha256:" + "ab" * 32,
            "pods": 2,
            "of": 2,
            "workloads": ["triton"],
        }
    ]
    assert answer["unread"] == ["nodes is forbidden"]


def test_an_age_has_one_unit() -> None:
    assert [age(seconds) for seconds in (-1, 7, 119, 120, 7199, 7200, 200_000)] == [
        "0 s", "7 s", "119 s", "2 min", "119 min", "2 h", "2 d",
    ]  # fmt: skip
