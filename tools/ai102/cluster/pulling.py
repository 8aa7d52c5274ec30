"""Why an image cannot be pulled: what the node's container runtime says of it, as a table of patterns."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ai102.cluster.facts import Container, Facts, Pod
from ai102.cluster.finding import Finding, line, of_pod
from ai102.cluster.release import DIGEST_DIGITS

WAITS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError")
NO_SECRET = "FailedToRetrieveImagePullSecret"
# Of what the runtime says, the first pattern that matches; {host} is the registry.
CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"401|403|unauthorized|authorization failed|access denied|forbidden|no basic auth",
        "{host} refuses the login",
        "make the pull Secret anew: `kubectl create secret docker-registry registry --docker-server={host} ...`,"
        " and name it in imagePullSecrets (component private-registry)",
    ),
    (
        r"x509|certificate|HTTP response to HTTPS client",
        "the node does not trust the certificate of {host}",
        "give the nodes' container runtime the registry's CA",
    ),
    (
        r"no such host|connection refused|i/o timeout|no route to host|network is unreachable|deadline exceeded|EOF",
        "{host} cannot be reached from the node",
        "check the registry's address in the overlay, and the node's way to it: DNS, proxy, firewall",
    ),
    (r"toomanyrequests|429", "{host} limits the pulls", "pull through your own registry (component private-registry)"),
    (
        r"no match for platform|exec format error",
        "the image is not built for the node's processor",
        "build it for that platform, or choose nodes by kubernetes.io/arch",
    ),
    (
        r"not found|manifest unknown|NotFound|name unknown",
        "{host} has no such image",
        "write the digest that `make push` printed into the overlay's `images`, and apply it again",
    ),
    (r"no space left", "the node's disk is full", "free the node's disk, or let the pod run on another node"),
    (r"couldn't parse|invalid reference|InvalidImageName", "its name is wrong", "correct the overlay's `images`"),
    (r"NeverPull|pull policy of Never", "the node may not pull it and has no copy", "load it, or set imagePullPolicy"),
)  # fmt: skip


def image_is_not_pulled(facts: Facts) -> Iterator[Finding]:
    """Of containers and of image volumes."""
    for pod in facts.running:
        for container in pod.containers:
            if container.waits in WAITS or "failed to pull" in container.message.lower():
                yield _finding(pod, _image(pod, container), f"{container.waits} {container.message} {_said(pod)}")
                break


def _finding(pod: Pod, image: str, said: str) -> Finding:
    host = registry_of(image)
    why, mend = next(
        ((why, mend) for pattern, why, mend in CAUSES if re.search(pattern, said, re.IGNORECASE)),
        (f"the node says: {line(said)}", "read the pod's events"),
    )
    secret = next((event for event in pod.events if event.reason == NO_SECRET), None)
    if secret is not None and "login" in why:
        names = "".join(re.findall(r"\((.+?)\)", secret.message)[:1])
        why = f"{why}: the pull Secret {names} does not exist"
    why = f"image {_short(image)} cannot be pulled: {why.format(host=host)}"
    return of_pod("image_is_not_pulled", pod, why, mend.format(host=host))


def registry_of(image: str) -> str:
    """As container runtimes read a reference: without a host it is Docker Hub's."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def _short(image: str) -> str:
    """With as many digits of the digest as tell it from others."""
    name, at, digest = image.partition("@")
    return f"{name}@{digest[: len('sha256:') + DIGEST_DIGITS]}" if at else image


def _image(pod: Pod, container: Container) -> str:
    """The image of a volume where the message names that one."""
    return next((image for image in pod.volumes if image in container.message), container.image)


def _said(pod: Pod) -> str:
    """The newest event of a failed pull: older kubelets do not repeat it in the container's message."""
    pulls = [event.message for event in pod.events if "pull" in event.message.lower() and event.reason == "Failed"]
    return pulls[-1] if pulls else ""
