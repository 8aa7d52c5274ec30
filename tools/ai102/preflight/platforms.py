"""The checks of what runs containers: Docker, Compose, Kubernetes."""

from __future__ import annotations

from ai102.preflight.finding import Finding, dotted, version
from ai102.preflight.machine import Machine
from ai102.preflight.profiles import Wanted

DOCKER = (20, 10)  # BuildKit, and the oldest that this repository ran on
COMPOSE = (2, 20)
KUBERNETES = (1, 35)  # mounts images as volumes without a feature gate


def container_engine(machine: Machine, wanted: Wanted) -> Finding:
    """One of the two is enough: a node of a cluster has no Docker, and a host of Compose no cluster."""
    servers = [
        f"{name} {server}"
        for name, server in (("Docker", machine.docker.server), ("Kubernetes", machine.kubernetes.server))
        if server
    ]
    if machine.is_container and not servers:
        return Finding("this is a container", "nothing more", True)
    advice = "start Docker (systemctl start docker), or give kubectl a cluster (KUBECONFIG)"
    return Finding(", ".join(servers) or "none answers", "Docker or Kubernetes that answers", bool(servers), advice)


def docker(machine: Machine, wanted: Wanted) -> Finding:
    client, server = machine.docker.client, machine.docker.server
    least = f"at least {dotted(DOCKER)}"
    if server is None:
        found = f"client {client}, server: {machine.docker.trouble}" if client else machine.docker.trouble
        start = "start it (systemctl start docker), or join the group docker if it refuses you"
        return Finding(found, least, False, start if client else "apt-get install docker.io, for images and Compose")
    is_met = version(server) >= DOCKER
    return Finding(f"client {client}, server {server}", least, is_met, "install a later Docker Engine")


def compose(machine: Machine, wanted: Wanted) -> Finding:
    found, least = machine.docker.compose, f"at least {dotted(COMPOSE)}"
    is_met = found is not None and version(found) >= COMPOSE
    return Finding(
        found or "missing",
        least,
        is_met,
        "apt-get install docker-compose-plugin (Docker's packages), or docker-compose",
    )


def kubernetes(machine: Machine, wanted: Wanted) -> Finding:
    client, server = machine.kubernetes.client, machine.kubernetes.server
    least = f"at least {dotted(KUBERNETES)}"
    if server is None:
        found = f"client {client}, server: {machine.kubernetes.trouble}" if client else machine.kubernetes.trouble
        return Finding(found, least, False, "for a cluster only: install kubectl and set KUBECONFIG")
    is_late = version(server) >= KUBERNETES
    gap = abs(version(client or "")[1:2][0] - version(server)[1]) if version(client or "")[1:2] else 0
    advice = (
        "models are mounted as image volumes: update the cluster, or switch on its feature gate ImageVolume (from 1.33)"
        if not is_late
        else "kubectl and cluster may differ by one minor version: install the cluster's kubectl"
    )
    return Finding(f"client {client}, server {server}", least, is_late and gap <= 1, advice)
