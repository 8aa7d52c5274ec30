"""Workloads that are broken, each in one way, of an image with perl alone: small, and they say why they end."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.cluster.workload import RESTRICTED

NAMESPACE = "symptoms"
NO_DIGEST = "sha256:" + "de" * 32
LAST_LINE = "error: creating server: failed to load all models"
DEAD = "embed_text: Stub process embed_text_0 is not healthy"
SLOW = "HTTP probe failed with statuscode: 400"
SLEEP = "sleep 86400"
GPU, SLICE = "nvidia.com/gpu", "nvidia.com/mig-1g.10gb"
NAME = "app.kubernetes.io/name"

# What the status must say of them: the rule, whom it names, and words of the cause.
SYMPTOMS = {
    "an image whose digest is wrong": ("image_is_not_pulled", "wrong-digest", "docker.io has no such image"),
    "a rollout that is stuck": ("rollout_is_stuck", "wrong-digest", "makes no progress: 0 of 1 pods are ready"),
    "a Secret that is missing": ("configuration_is_missing", "no-secret", "the Secret gateway-secret does not exist"),
    "a mounted Secret that is missing": (
        "configuration_is_missing", "no-mounted-secret", "the Secret seal-keys does not exist"),
    "a ConfigMap that is missing": (
        "configuration_is_missing", "no-configuration", "the ConfigMap contract-abc does not exist"),
    "a container that crashes": (
        "container_crashes", "crash", f"; its log ends: {LAST_LINE}"),
    "too little memory": ("container_is_out_of_memory", "memory", "memory limit of 24Mi and was killed (OOMKilled)"),
    "a model whose process dies": ("model_process_dies", "dead-model", DEAD),
    "a start that takes too long": ("startup_takes_too_long", "slow", SLOW),
    "no GPU": ("no_node_has_room", "gpu", "it asks 1 nvidia.com/gpu, and no node has any"),
    "too few processors": ("no_node_has_room", "large", "it asks 100 CPU, and the largest node has "),
    "no node with the labels": ("no_node_has_room", "labels", "no label that it wants (2 of 3 nodes)"),
    "a taint": ("no_node_has_room", "tainted", "a taint that it does not tolerate (1 of 3 nodes)"),
    "a pod without its volume": ("no_node_has_room", "claim", "its volume is not there"),
    "a claim without a volume": ("claim_is_not_bound", "claim models", "no storage class is set"),
    "Pod Security": ("pod_security_refuses", "insecure", "Pod Security level restricted refuses its pods"),
    "a quota": ("quota_is_used_up", "over-quota", "the quota slices is used up"),
    "a certificate that has expired": ("certificate_ends", "certificate gateway-certificate", "it expired 3 days ago"),
    "a gateway without replicas": ("gateway_has_no_replica", "gateway", "0 of 1 triton pods are ready"),
    "replicas on one node": ("replicas_share_a_node", "gateway", "all 2 ready pods are on node n1"),
    "a budget that allows no drain": ("budget_blocks_drain", "budget gateway", "so a drain of its node would wait"),
}  # fmt: skip


def manifests(image: str, pause: str) -> str:
    """All of it as one JSON document; both images by digest."""
    workloads = [
        deployment("wrong-digest", f"{pause.partition('@')[0]}@{NO_DIGEST}", deadline_s=2),
        deployment("no-secret", pause, envFrom=[{"secretRef": {"name": "gateway-secret"}}]),
        mounting("no-mounted-secret", pause, {"secret": {"secretName": "seal-keys"}}),
        mounting("no-configuration", pause, {"configMap": {"name": "contract-abc"}}),
        deployment("crash", image, **perl(f'print STDERR "loading\\n{LAST_LINE}\\n"; exit 3')),
        deployment("memory", image, **perl('$x .= "a" x 1000000 while 1'), **limits(memory="24Mi")),
        named("triton", deployment("dead-model", image, **perl(SLEEP), livenessProbe=failing(DEAD))),
        deployment("slow", image, **perl(SLEEP), startupProbe=failing(SLOW)),
        deployment("gpu", pause, **limits(**{GPU: "1"})),
        deployment("large", pause, **limits(cpu="100")),
        selecting("labels", pause, {"ai102.example/pool": "nowhere"}),
        selecting("tainted", pause, {"kubernetes.io/hostname": "n3"}),
        mounting("claim", pause, {"persistentVolumeClaim": {"claimName": "models"}}),
        deployment("insecure", pause, securityContext={"privileged": True}),
        deployment("over-quota", pause, **limits(**{SLICE: "1"})),
        named("gateway", selecting("gateway", pause, {"kubernetes.io/hostname": "n1"}, replicas=2)),
    ]
    return listed(namespace(), quota(), claim(), budget(), certificate(-3), *workloads)


def halfway(image: str, pause: str, *, new: bool) -> str:
    """A Deployment whose new pods never count as available, so that its rollout stays in the middle."""
    container = {"image": image, **perl(SLEEP)} if new else {"image": pause}
    return listed(deployment("halfway", container.pop("image"), replicas=2, quiet_s=600 if new else 0, **container))


def listed(*items: Mapping[str, Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def namespace() -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def deployment(
    name: str,
    image: str,
    replicas: int = 1,
    deadline_s: int = 600,
    quiet_s: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """New pods count after `quiet_s`, a rollout is stuck after `deadline_s`; `more` are fields of its one container."""
    container = {"name": name, "image": image, "securityContext": RESTRICTED, **more}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "minReadySeconds": quiet_s,
            "progressDeadlineSeconds": max(deadline_s, quiet_s + 1),
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }


def named(role: str, item: dict[str, Any]) -> dict[str, Any]:
    """As a part of this project."""
    item["spec"]["template"]["metadata"]["labels"][NAME] = role
    return item


def mounting(name: str, image: str, volume: Mapping[str, Any]) -> dict[str, Any]:
    item = deployment(name, image, volumeMounts=[{"name": "volume", "mountPath": "/volume"}])
    item["spec"]["template"]["spec"]["volumes"] = [{"name": "volume", **volume}]
    return item


def selecting(name: str, image: str, labels: Mapping[str, str], replicas: int = 1) -> dict[str, Any]:
    item = deployment(name, image, replicas)
    item["spec"]["template"]["spec"]["nodeSelector"] = labels
    return item


def perl(program: str) -> dict[str, Any]:
    return {"args": ["-e", program]}


def limits(**amounts: str) -> dict[str, Any]:
    return {"resources": {"requests": amounts, "limits": amounts}}


def failing(says: str) -> dict[str, Any]:
    """A probe that fails twice, two seconds after the start."""
    command = ["/bin/perl", "-e", f'print "{says}"; exit 1']
    return {"exec": {"command": command}, "periodSeconds": 1, "failureThreshold": 2}


def quota() -> dict[str, Any]:
    spec = {"hard": {f"requests.{SLICE}": "0"}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata("slices"), "spec": spec}


def claim() -> dict[str, Any]:
    """Of no storage class, where the cluster has none."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata("models"), "spec": spec}


def budget() -> dict[str, Any]:
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "gateway"}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata("gateway"), "spec": spec}


def certificate(days: int) -> dict[str, Any]:
    """Certificate and key in one file, as the gateway reads them; it ends in so many days."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    ends = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(ends - timedelta(days=30)).not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("ai102.example.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    data = {"tls-combined.pem": base64.b64encode(made.public_bytes(Encoding.PEM) + private).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata("gateway-certificate"), "data": data}


def metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE}
