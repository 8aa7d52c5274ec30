"""Scenarios in which pods are replaced on purpose: a restart, another models image, the way back, new secrets."""

from __future__ import annotations

import shutil
import ssl
import time
from datetime import UTC, datetime

from ai102.gateway import certs
from ai102.seal import key_files
from k8s.local import namespaces
from k8s.local.plan import CLIENT
from k8s.local.waiting import until
from tests.cluster.calls.balancer import ADDRESS
from tests.cluster.calls.driving import Driven
from tests.cluster.calls.stack import Stack

# A kubelet writes a Secret's new content into running pods within its period of a minute and the age of its cache.
SECRETS_WITHIN_S = 240.0
GRPC_TARGET_PORT = 8081


def restart(stack: Stack, load: Driven) -> float:
    began_s = time.monotonic()
    stack.kubectl("rollout", "restart", "deployment/triton")
    stack.roll_out("triton")
    return began_s


def release_models(stack: Stack, load: Driven) -> float:
    stack.release_models("2")
    began_s = time.monotonic()
    stack.apply()
    stack.roll_out("triton")
    return began_s


def have_two_releases(stack: Stack) -> None:
    """Another models image, unless there was a release before this one."""
    revisions = stack.kubectl("rollout", "history", "deployment/triton").strip().splitlines()[2:]
    if len(revisions) < 2:
        stack.release_models("2")
        stack.apply()
        stack.roll_out("triton")


def undo(stack: Stack, load: Driven) -> float:
    began_s = time.monotonic()
    stack.kubectl("rollout", "undo", "deployment/triton")
    stack.roll_out("triton")
    return began_s


def prepare_rotation(stack: Stack) -> None:
    """A new authority signs the new certificate, so callers trust both, from before the rotation on."""
    old, new = stack.secrets / "certs", stack.secrets / "new"
    if not (new / "ca.pem").exists():
        certs.make(new, ("gateway", ADDRESS))
    both = (old / "ca.pem").read_text(encoding="utf-8") + (new / "ca.pem").read_text(encoding="utf-8")
    (old / "ca.pem").write_text(both, encoding="utf-8")


def rotate(stack: Stack, load: Driven) -> float:
    """As docs/kubernetes.md says: the Secrets, then a restart of the replicas; gateways take theirs while they run."""
    shutil.copyfile(stack.secrets / "new" / "server.pem", stack.secrets / "certs" / "server.pem")
    key_files.rotate(stack.secrets / "keys", "", "", datetime.now(UTC))
    (stack.secrets / "secret").unlink()
    began_s = time.monotonic()
    stack.make_secrets()
    stack.kubectl("rollout", "restart", "deployment/triton")
    stack.roll_out("triton")
    # Callers seal with the new key once every replica opens it; one that ends answers until it has gone.
    until(
        lambda: not stack.ending("triton"), "every replica without the new key has gone", SECRETS_WITHIN_S, load.check
    )
    stack.hand_out_keys()
    until(
        lambda: _show_the_new_certificate(stack),
        "every gateway shows the new certificate",
        SECRETS_WITHIN_S,
        load.check,
    )
    return began_s


def _show_the_new_certificate(stack: Stack) -> bool:
    text = (stack.secrets / "new" / "server.pem").read_text(encoding="ascii")

    def shown() -> list[str]:
        addresses = [stack.address_of(pod.name) for pod in stack.ready("gateway")]
        return [ssl.get_server_certificate((address, GRPC_TARGET_PORT), timeout=10).strip() for address in addresses]

    place = namespaces.path_of(stack.plan.namespace(CLIENT))
    try:
        return all(text.startswith(certificate) for certificate in namespaces.inside(place, shown))
    except OSError:  # one of them does not answer now
        return False
