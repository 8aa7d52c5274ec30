"""A Kubernetes API server and its etcd, without nodes: it takes or refuses manifests as any cluster does."""

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ai102.host.child import Child
from tests.gateway.conftest import free_addresses, wait_until
from tests.kubernetes.kustomized import kubectl_or_skip, program_of

READY_S = 90.0


@dataclass(frozen=True)
class ApiServer:
    """`kubeconfig` is its administrator's."""

    kubectl: str
    kubeconfig: Path

    def run(self, *words: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        """kubectl with these words, and `text` as its input."""
        command = [self.kubectl, f"--kubeconfig={self.kubeconfig}", *words]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)

    def done(self, *words: str, text: str = "") -> str:
        """As `run`, and it must succeed."""
        done = self.run(*words, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kinds(self) -> set[str]:
        """Of all resources that it knows."""
        lines = self.done("api-resources", "--no-headers").splitlines()
        return {line.split()[-1] for line in lines}


@contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """Running on free ports of 127.0.0.1; the test skips where etcd, the API server or kubectl is not in the cache."""
    etcd, program, kubectl = program_of("etcd", "etcd"), program_of("kubernetes", "kube-apiserver"), kubectl_or_skip()
    client, peer, secure = free_addresses(3)
    token = secrets.token_urlsafe(32)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "accounts.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n', encoding="utf-8")
    (folder / "kubeconfig").write_text(json.dumps(_kubeconfig(secure, token)), encoding="utf-8")
    server = ApiServer(kubectl, folder / "kubeconfig")
    with ExitStack() as stack:
        for name, command in (
            ("etcd", [etcd, f"--data-dir={folder / 'etcd'}", f"--listen-client-urls=http://{client}",
                      f"--advertise-client-urls=http://{client}", f"--listen-peer-urls=http://{peer}",
                      f"--initial-advertise-peer-urls=http://{peer}", f"--initial-cluster=default=http://{peer}",
                      "--unsafe-no-fsync"]),
            ("kube-apiserver", [program, f"--etcd-servers=http://{client}", "--bind-address=127.0.0.1",
                                f"--secure-port={secure.rpartition(':')[2]}", f"--cert-dir={folder / 'certs'}",
                                "--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none",
                                "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC",
                                "--service-account-issuer=https://kubernetes.default.svc",
                                f"--service-account-key-file={folder / 'accounts.key'}",
                                f"--service-account-signing-key-file={folder / 'accounts.key'}",
                                f"--token-auth-file={folder / 'tokens.csv'}"]),
        ):  # fmt: skip
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            child = Child(command, stdout=log, stderr=log, grace_s=2)
            stack.callback(_end, child)
        wait_until(lambda: server.run("get", "--raw", "/readyz").returncode == 0, "the API server is ready", READY_S)
        yield server


def _end(child: Child) -> None:
    child.kill()
    child.reap()


def _kubeconfig(address: str, token: str) -> dict[str, Any]:
    """Its certificate is of its own making, so nobody checks it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": {"server": f"https://{address}", "insecure-skip-tls-verify": True}}],
        "users": [{"name": "a", "user": {"token": token}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
    }
