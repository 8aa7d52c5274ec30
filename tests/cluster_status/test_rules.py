"""Each rule of what is unhealthy, with a case for and one against; causes come before their consequences."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ai102.cluster.facts import (
    Budget,
    Certificate,
    Claim,
    Condition,
    Container,
    Ended,
    Event,
    Facts,
    Issued,
    Node,
    Pod,
    Quota,
    Scaled,
    Scaler,
    Workload,
)
from ai102.cluster.finding import line
from ai102.cluster.rules import findings, is_healthy

NOW = 1_000_000.0
IMAGE = "registry.example:5000/ai102/server@sha256:" + "ab" * 32
CONTAINER = Container("triton", IMAGE, "sha256:" + "ab" * 32, is_ready=True, is_started=True, memory_limit="2304Mi")
POD = Pod("triton-1", "triton", "triton", "n1", is_ready=True, created_s=NOW - 60, containers=(CONTAINER,))
OTHER = replace(POD, name="triton-2", node="n2")
TRITON = Workload("Deployment", "triton", "triton", wanted=2, ready=2, updated=2)
GATEWAY = Workload("Deployment", "gateway", "gateway", wanted=1, ready=1, updated=1)
GATEWAY_POD = Pod("gateway-1", "gateway", "gateway", "n1", is_ready=True)
NODES = (Node("n1", room={"cpu": 2.0, "memory": 2.0**33}), Node("n2", room={"cpu": 2.0, "memory": 2.0**33}))
WELL = Facts(
    "ai102", "here", NOW, pods=(POD, OTHER, GATEWAY_POD), workloads=(TRITON, GATEWAY), nodes=NODES,
    certificate=Certificate("gateway-certificate", NOW + 100 * 86400),
)  # fmt: skip


def with_pod(**changes: Any) -> Facts:
    """One of two replicas is not as it should be."""
    pod = replace(POD, is_ready=False, **changes)
    return replace(WELL, pods=(pod, OTHER, GATEWAY_POD), workloads=(replace(TRITON, ready=1), GATEWAY))


def with_container(events: Sequence[Event] = (), **changes: Any) -> Facts:
    container = replace(CONTAINER, is_ready=False, **changes)
    return with_pod(containers=(container,), events=tuple(events))


def waiting(reason: str, message: str = "", *events: Event) -> Facts:
    return with_container(events, waits=reason, message=message)


def ended(reason: str, exit_status: int, *, ago_s: float = 30, events: Sequence[Event] = (), **changes: Any) -> Facts:
    end = Ended(reason, exit_status, NOW - ago_s)
    return with_container(events, ended_before=end, **{"restarts": 3, "waits": "CrashLoopBackOff", **changes})


def unscheduled(message: str, **asks: float) -> Facts:
    return with_pod(node="", unscheduled=message, asks=asks, phase="Pending")


def refused(message: str) -> Facts:
    return replace(WELL, workloads=(replace(TRITON, ready=1, refused=message), GATEWAY))


PULL = f'Back-off pulling image "{IMAGE}": ErrImagePull: '
KILLING = "Container triton failed {} probe, will be restarted"
WRONG: dict[str, tuple[Facts, str, str]] = {
    "digest": (
        waiting("ImagePullBackOff", PULL + f"rpc error: code = NotFound desc = {IMAGE}: not found"),
        "image_is_not_pulled",
        "image registry.example:5000/ai102/server@sha256:abababababab cannot be pulled: registry.example:5000 has no",
    ),
    "older kubelet": (
        waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"',
                Event("Failed", f'Failed to pull image "{IMAGE}": rpc error: code = NotFound: not found', NOW)),
        "image_is_not_pulled", "registry.example:5000 has no such image",
    ),
    "login": (
        waiting("ErrImagePull", PULL + "401 Unauthorized",
                Event("FailedToRetrieveImagePullSecret",
                      "Unable to retrieve some image pull secrets (registry); attempting to pull may fail.", NOW)),
        "image_is_not_pulled", "registry.example:5000 refuses the login: the pull Secret registry does not exist",
    ),
    "registry": (
        waiting("ErrImagePull", PULL + "dial tcp: lookup registry.example: no such host"),
        "image_is_not_pulled", "registry.example:5000 cannot be reached from the node",
    ),
    "registry's certificate": (
        waiting("ErrImagePull", PULL + "tls: failed to verify certificate: x509: unknown authority"),
        "image_is_not_pulled", "the node does not trust the certificate of registry.example:5000",
    ),
    "secret": (
        waiting("CreateContainerConfigError", 'secret "seal-keys" not found'),
        "configuration_is_missing", "the Secret seal-keys does not exist",
    ),
    "secret of a volume": (
        waiting("ContainerCreating", "",
                Event("FailedMount", 'SetUp failed for volume "a" : secret "gateway-secret" not found', NOW)),
        "configuration_is_missing", "the Secret gateway-secret does not exist",
    ),
    "config map": (
        waiting("CreateContainerConfigError", 'configmap "contract" not found'),
        "configuration_is_missing", "the ConfigMap contract does not exist",
    ),
    "key": (
        waiting("ContainerCreating", "",
                Event("FailedMount", "references non-existent secret key: tls-combined.pem", NOW)),
        "configuration_is_missing", "a key is missing: tls-combined.pem",
    ),
    "memory": (
        ended("OOMKilled", 137),
        "container_is_out_of_memory", "container triton used more than its memory limit of 2304Mi and was killed",
    ),
    "dead model": (
        ended("Error", 137, waits="", events=[
            Event("Unhealthy", "Liveness probe failed: embed_text: Stub process is not healthy", NOW - 40),
            Event("Killing", KILLING.format("liveness"), NOW - 39)]),
        "model_process_dies",
        "the check of dead models restarted the container 3 times: embed_text: Stub process is not healthy",
    ),
    "slow start": (
        ended("Error", 143, waits="", events=[
            Event("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 400", NOW - 40),
            Event("Killing", KILLING.format("startup"), NOW - 39)]),
        "startup_takes_too_long",
        "container triton is not ready within the time of its startup probe, and was restarted 3 times: HTTP probe",
    ),
    "crash": (
        replace(ended("Error", 1), last_lines={("triton-1", "triton"): "error: failed to load all models"}),
        "container_crashes",
        "container triton ends with status 1, restarted 3 times; its log ends: error: failed to load all models",
    ),
    "slow start, of whose end no event was written": (
        ended("Error", 137, waits="", events=[Event("Unhealthy", "Startup probe failed: refused", NOW - 40)]),
        "startup_takes_too_long", "and was restarted 3 times: refused",
    ),
    "crash by a signal": (
        ended("Error", 139), "container_crashes", "container triton ends with status 139 (SIGSEGV), restarted 3 times",
    ),
    "crash after a kill of long ago": (
        replace(ended("Error", 1, events=[Event("Killing", KILLING.format("liveness"), NOW - 1800)]),
                last_lines={("triton-1", "triton"): ""}),
        "container_crashes", "container triton ends with status 1, restarted 3 times; its log is empty",
    ),
    "cpu": (
        unscheduled("0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate", cpu=16.0),
        "no_node_has_room", "no node takes it: it asks 16 CPU, and the largest node has 2 CPU (2 of 2 nodes)",
    ),
    "cpu that others have": (
        unscheduled("0/2 nodes are available: 2 Insufficient cpu.", cpu=1.0),
        "no_node_has_room", "it asks 1 CPU, and other pods have taken it (2 of 2 nodes)",
    ),
    "gpu": (
        unscheduled("0/2 nodes are available: 2 Insufficient nvidia.com/gpu.", **{"nvidia.com/gpu": 1.0}),
        "no_node_has_room", "it asks 1 nvidia.com/gpu, and no node has any",
    ),
    "selector and taint": (
        unscheduled("0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
                    "1 node(s) had untolerated taint {a: b}."),
        "no_node_has_room",
        "no label that it wants (1 of 2 nodes); a taint that it does not tolerate (1 of 2 nodes)",
    ),
    "volume": (
        unscheduled("0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
        "no_node_has_room", "no node takes it: its volume is not there",
    ),
    "claim": (
        replace(WELL, claims=(Claim("issuer", "Pending", (
            Event("FailedBinding", "no persistent volumes available and no storage class is set", NOW),)),)),
        "claim_is_not_bound", "it has no volume: no persistent volumes available and no storage class is set",
    ),
    "pod security": (
        refused('pods "triton-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true (pod)'),
        "pod_security_refuses",
        "the namespace's Pod Security level restricted refuses its pods: runAsNonRoot != true (pod)",
    ),
    "quota": (
        refused('pods "triton-x" is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=2, limited: cpu=2'),
        "quota_is_used_up", "the quota small is used up: requested: cpu=1, used: cpu=2, limited: cpu=2",
    ),
    "service account": (
        refused('pods "triton-x" is forbidden: error looking up service account ai102/triton'),
        "pods_are_refused", "the cluster refuses its pods: ",
    ),
    "stuck": (
        replace(WELL, workloads=(replace(TRITON, updated=1, stuck="has timed out progressing"), GATEWAY)),
        "rollout_is_stuck", "its rollout makes no progress: 2 of 2 pods are ready, 1 are of the new release",
    ),
    "node": (
        replace(WELL, nodes=(NODES[0], replace(NODES[1], is_ready=False, message="Kubelet stopped posting status"))),
        "node_is_not_ready", "it is NotReady: Kubelet stopped posting status; pods of the namespace on it: triton-2",
    ),
    "disk": (
        replace(WELL, nodes=(NODES[0], replace(NODES[1], pressures=("DiskPressure",)))),
        "node_is_short", "it has DiskPressure: it takes no new pods and may evict those it has",
    ),
    "drain": (
        replace(WELL, nodes=(replace(NODES[0], is_cordoned=True), NODES[1]),
                budgets=(Budget("triton", 0, 2, 2, ("triton-1", "triton-2")),)),
        "budget_blocks_drain", "no pod may leave, so the drain of n1 waits: 2 are healthy and 2 must stay",
    ),
    "expired": (
        replace(WELL, certificate=Certificate("gateway-certificate", NOW - 3 * 86400)),
        "certificate_ends", "it expired 3 days ago: callers refuse the gateway",
    ),
    "not issued": (
        replace(WELL, issued=(Issued("gateway", False, 'ClusterIssuer "ai102" not found'),)),
        "certificate_is_not_issued", 'cert-manager cannot issue it: ClusterIssuer "ai102" not found',
    ),
    "keda": (
        replace(WELL, scaled=(Scaled("triton", "triton", (Condition("Ready", False, "E", "no such host"),)),)),
        "scaling_does_not_work", "KEDA cannot scale triton: no such host",
    ),
    "fallback": (
        replace(WELL, scaled=(Scaled("triton", "triton", (Condition("Fallback", True),), ("arrivals", "in-flight")),)),
        "scaling_has_no_figures", "KEDA gets no figures for arrivals, in-flight, so triton stays at its fallback",
    ),
    "hpa": (
        replace(WELL, scalers=(Scaler("triton", "triton", 3, 12, 3, 3, (), (
            Condition("ScalingActive", False, "FailedGetExternalMetric", "unable to get it"),)),)),
        "scaling_does_not_work", "triton is not scaled: FailedGetExternalMetric: unable to get it",
    ),
    "starting": (
        with_container([], is_started=False),
        "pods_are_missing", "1 of 2 are ready: one starts",
    ),
}  # fmt: skip
NOTES: dict[str, tuple[Facts, str, str]] = {
    "an old restart": (
        replace(WELL, pods=(replace(POD, containers=(
            replace(CONTAINER, restarts=1, ended_before=Ended("OOMKilled", 137, NOW - 7200)),)), OTHER, GATEWAY_POD)),
        "container_is_out_of_memory", "container triton used more than its memory limit of 2304Mi",
    ),
    "a restart after which it is ready": (
        replace(WELL, pods=(replace(POD, containers=(
            replace(CONTAINER, restarts=1, ended_before=Ended("Error", 1, NOW - 60)),)), OTHER, GATEWAY_POD)),
        "container_crashes", "container triton ends with status 1, restarted once",
    ),
    "two releases": (
        replace(WELL, pods=(POD, replace(OTHER, containers=(replace(CONTAINER, digest="sha256:" + "cd" * 32),)),
                            GATEWAY_POD)),
        "two_releases_run", "two releases answer calls: 1 with server abababababab, 1 with server cdcdcdcdcdcd",
    ),
    "one node": (
        replace(WELL, pods=(POD, replace(OTHER, node="n1"), GATEWAY_POD)),
        "replicas_share_a_node", "all 2 ready pods are on node n1: with it all calls are lost",
    ),
    "tight budget": (
        replace(WELL, budgets=(Budget("triton", 0, 2, 2, ("triton-1", "triton-2")),)),
        "budget_blocks_drain", "no pod may leave, so a drain of its node would wait: 2 are healthy and 2 must stay",
    ),
    "cordoned": (
        replace(WELL, nodes=(replace(NODES[0], is_cordoned=True), NODES[1])),
        "node_is_cordoned", "it takes no new pods",
    ),
    "soon": (
        replace(WELL, certificate=Certificate("gateway-certificate", NOW + 10 * 86400)),
        "certificate_ends", "it expires in 10 days",
    ),
    "evicted": (
        replace(WELL, pods=(*WELL.pods, replace(POD, name="triton-0", phase="Failed", reason="Evicted", is_ready=False,
                                                message="The node was low on resource: memory."))),
        "pod_was_evicted", "a pod was ended by node n1: Evicted, The node was low on resource: memory.",
    ),
    "the most": (
        replace(WELL, scalers=(Scaler("triton", "triton", 3, 12, 12, 12, (), (
            Condition("ScalingLimited", True, "TooManyReplicas"),)),)),
        "scaling_is_at_its_most", "triton has 12 replicas, the most allowed, and more are wanted",
    ),
    "full quota": (
        replace(WELL, quotas=(Quota("small", {"limits.memory": "4Gi", "pods": "10"},
                                    {"limits.memory": "4096Mi", "pods": "3"}),)),
        "quota_is_full", "nothing is left of limits.memory: the next pod would be refused",
    ),
    "paused": (
        replace(WELL, scaled=(Scaled("triton", "triton", (Condition("Paused", True),)),)),
        "scaling_is_paused", "scaling is paused",
    ),
}  # fmt: skip


def test_nothing_is_said_where_all_is_well() -> None:
    assert findings(WELL) == []


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_once_with_its_cause_and_a_next_step(case: str) -> None:
    facts, rule, why = WRONG[case]
    wrong = [finding for finding in findings(facts) if finding.level == "wrong"]
    assert [finding.rule for finding in wrong] == [rule]
    assert why in wrong[0].why
    assert wrong[0].mend
    assert not is_healthy(wrong)


@pytest.mark.parametrize("case", NOTES)
def test_what_is_unusual_is_a_note_and_the_cluster_healthy(case: str) -> None:
    facts, rule, why = NOTES[case]
    (finding,) = findings(facts)
    assert (finding.rule, finding.level) == (rule, "note")
    assert why in finding.why
    assert is_healthy([finding])


HARMLESS: dict[str, Facts] = {
    "a pod that ends": replace(WELL, pods=(*WELL.pods, replace(POD, name="old", is_ready=False, is_ending=True))),
    "a Job that is done": replace(WELL, pods=(*WELL.pods, Pod("gate", "gate", phase="Succeeded"))),
    "a claim for the first pod that mounts it": replace(
        WELL, claims=(Claim("issuer", "Pending", (Event("WaitForFirstConsumer", "waiting", NOW),)),)
    ),
    "a node of others that is away for repair": replace(
        WELL, nodes=(*NODES, Node("n3", is_ready=False, message="off", is_cordoned=True))
    ),
    "one node alone": replace(WELL, pods=(POD, replace(OTHER, node="n1"), GATEWAY_POD), nodes=NODES[:1]),
    "a budget that waits for pods": replace(WELL, budgets=(Budget("triton", 0, 1, 2, ("triton-1",)),)),
    "a budget that keeps none": replace(WELL, budgets=(Budget("api", 0, 0, 0, ("api-1",)),)),
    "KEDA without load": replace(
        WELL, scaled=(Scaled("triton", "triton", (Condition("Ready", True), Condition("Active", False))),)
    ),
    "an old event of a mount": replace(
        WELL, pods=(replace(POD, events=(Event("FailedMount", 'secret "a" not found', NOW),)), OTHER, GATEWAY_POD)
    ),
    "no gateway at all": replace(WELL, workloads=(Workload("DaemonSet", "fluent-bit", ready=1),), pods=()),
    "nodes that one may not read": replace(WELL, nodes=()),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_usual_is_not_mentioned(case: str) -> None:
    assert findings(HARMLESS[case]) == []


def test_pods_of_one_workload_with_the_same_cause_are_one_finding() -> None:
    message = PULL + "not found"
    container = replace(CONTAINER, is_ready=False, waits="ImagePullBackOff", message=message)
    pods = tuple(replace(POD, name=f"triton-{number}", is_ready=False, containers=(container,)) for number in range(5))
    facts = replace(WELL, pods=(*pods, GATEWAY_POD), workloads=(replace(TRITON, wanted=5, ready=0), GATEWAY))
    finding, consequence = findings(facts)
    assert finding.subject == "triton (triton-0, triton-1, triton-2 and 2 more)"
    assert consequence.rule == "gateway_has_no_replica"
    assert "0 of 5 triton pods are ready" in consequence.why


def test_a_gateway_of_no_replicas_says_how_to_start_some() -> None:
    facts = replace(WELL, pods=(GATEWAY_POD,), workloads=(replace(TRITON, wanted=0, ready=0), GATEWAY))
    (finding,) = findings(facts)
    assert finding.mend == "`kubectl scale deployment triton --replicas=3 --namespace ai102`"


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    text = line(f"failed to mount: {'a' * 500}, err: input/output error", 100)
    assert len(text) == 100
    assert text.startswith("failed to mount: aaa")
    assert text.endswith("aaa, err: input/output error")
