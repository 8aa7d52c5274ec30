"""The one program that holds Kubernetes works under each of its names: a control plane without nodes plans a pod."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ai102.serve.addresses import chosen_ports
from tests.parts.test_programs import running
from tests.parts_of import program_or_skip

pytestmark = pytest.mark.slow

DEADLINE_S = 120
TOKEN = "a-token-of-this-test"
LOCAL = "127.0.0.1"
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "greet"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "greet"}},
        "template": {
            "metadata": {"labels": {"app": "greet"}},
            "spec": {"automountServiceAccountToken": False, "containers": [{"name": "greet", "image": "greet:1"}]},
        },
    },
}


class ControlPlane:
    """Where the API server answers, and kubectl with the rights of an administrator."""

    def __init__(self, folder: Path, port: int) -> None:
        self.kubeconfig = folder / "admin.kubeconfig"
        cluster = {"server": f"https://{LOCAL}:{port}", "insecure-skip-tls-verify": True}
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        self.kubeconfig.write_text(json.dumps(configuration))

    def kubectl(self, *arguments: str, given: object = None) -> "subprocess.CompletedProcess[str]":
        command = [program_or_skip("kubernetes", "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        text = None if given is None else json.dumps(given)
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)


def until(holds: Callable[[], Any], what: str) -> Any:
    """What `holds` returns once it is true."""
    ends = time.monotonic() + DEADLINE_S
    while not (result := holds()):
        if time.monotonic() > ends:
            pytest.fail(f"not within {DEADLINE_S} s: {what}")
        time.sleep(0.2)
    return result


@pytest.fixture
def control_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """etcd, API server, controller manager and scheduler, each a process of its own."""
    programs = {
        name: program_or_skip("kubernetes", name)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    }
    etcd = program_or_skip("etcd")
    names = ("etcd", "peer", "api", "controllers", "scheduler")
    ports = chosen_ports(LOCAL, dict.fromkeys(names, 0))
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "tokens.csv").write_text(f"{TOKEN},admin,1,system:masters\n")
    client, peer = f"http://{LOCAL}:{ports['etcd']}", f"http://{LOCAL}:{ports['peer']}"
    plane = ControlPlane(tmp_path, ports["api"])
    with ExitStack() as stack:

        def start(name: str, *command: str | Path) -> None:
            stack.enter_context(running(command, tmp_path / f"{name}.log"))

        start(
            "etcd",
            etcd,
            f"--data-dir={tmp_path / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )
        start(
            "api",
            programs["kube-apiserver"],
            f"--etcd-servers={client}",
            f"--bind-address={LOCAL}",
            f"--secure-port={ports['api']}",
            f"--cert-dir={tmp_path / 'certificates'}",
            f"--token-auth-file={tmp_path / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={tmp_path / 'key.pem'}",
            f"--service-account-signing-key-file={tmp_path / 'key.pem'}",
            # The controller of service accounts needs some seconds; this pod needs no account.
            "--disable-admission-plugins=ServiceAccount",
        )
        until(lambda: plane.kubectl("get", "--raw", "/readyz").stdout == "ok", "the API server is ready")
        for name, program in (("controllers", "kube-controller-manager"), ("scheduler", "kube-scheduler")):
            options = (f"--kubeconfig={plane.kubeconfig}", f"--bind-address={LOCAL}", f"--secure-port={ports[name]}")
            start(name, programs[program], *options, f"--cert-dir={tmp_path / name}", "--leader-elect=false")
        yield plane


def test_a_control_plane_of_the_one_program_makes_a_pod_and_looks_for_a_node(control_plane: ControlPlane) -> None:
    version = json.loads(control_plane.kubectl("version", "-o", "json").stdout)
    assert version["clientVersion"]["gitVersion"] == version["serverVersion"]["gitVersion"]
    applied = control_plane.kubectl("apply", "-f", "-", given=DEPLOYMENT)
    assert applied.stdout == "deployment.apps/greet created\n", applied.stderr

    def unscheduled() -> list[str]:
        pods = json.loads(control_plane.kubectl("get", "pods", "-l", "app=greet", "-o", "json").stdout)["items"]
        conditions = [condition for pod in pods for condition in pod["status"].get("conditions", [])]
        return [condition["message"] for condition in conditions if condition["type"] == "PodScheduled"]

    (message,) = until(unscheduled, "the scheduler has looked at the pod")
    assert message.startswith("no nodes available")
