"""Where the programs of the cluster come from: parts of the cache (tools/parts.toml), and the system's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ai102.errors import UserError
from ai102.parts import Cache, program
from k8s.local.cgroups import MOUNT

# The Debian package that brings each program of the system.
SYSTEM = {
    "ip": "iproute2",
    "iptables": "iptables",
    "ipset": "ipset",
    "mkfs.ext4": "e2fsprogs",
    "mount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
SYSTEM_FOLDERS = "/usr/sbin:/sbin"


@dataclass(frozen=True)
class Programs:
    """The programs that the cluster needs before it can do anything, from the cache."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_scheduler: Path
    kubelet: Path
    kube_proxy: Path
    kubectl: Path
    containerd: Path
    runc: Path
    cni_bridge: Path
    kube_router: Path
    coredns: Path
    pause: Path
    docker_registry: Path

    @classmethod
    def of(cls, cache: Cache) -> Programs:
        """Raises UserError that says what to build when one is not in the cache."""
        missing: list[str] = []

        def part(name: str, of: str = "") -> Path:
            try:
                return program(of or name, name, cache=cache)
            except UserError as err:
                missing.append(str(err))
                return Path()

        programs = cls(
            etcd=part("etcd"),
            kube_apiserver=part("kube-apiserver", "kubernetes"),
            kube_controller_manager=part("kube-controller-manager", "kubernetes"),
            kube_scheduler=part("kube-scheduler", "kubernetes"),
            kubelet=part("kubelet", "kubernetes"),
            kube_proxy=part("kube-proxy", "kubernetes"),
            kubectl=part("kubectl", "kubernetes"),
            containerd=part("containerd"),
            runc=part("runc"),
            cni_bridge=part("bridge", "cni-plugins"),
            kube_router=part("kube-router"),
            coredns=part("coredns"),
            pause=part("pause"),
            docker_registry=part("docker-registry"),
        )
        if missing:
            raise UserError("\n".join([*dict.fromkeys(missing), "`ai102 parts build --for cluster` makes all of them"]))
        return programs


def check_machine() -> None:
    """Raises UserError with a line for each thing that this machine lacks."""
    if lacks := lacking():
        raise UserError("\n".join(lacks))


def lacking() -> Sequence[str]:
    """What keeps this machine from running a cluster, a line each."""
    lacks = []
    if os.uname().sysname != "Linux":
        return ["a cluster in network namespaces needs Linux; on another system use kind, minikube or a real cluster"]
    if os.geteuid() != 0:
        lacks.append("the cluster makes namespaces, mounts and control groups: run it as root")
    path = f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}"
    if packages := sorted({package for name, package in SYSTEM.items() if not shutil.which(name, path=path)}):
        lacks.append(f"programs are missing: apt-get install {' '.join(packages)}")
    if not MOUNT.is_dir() or not any(MOUNT.iterdir()):
        lacks.append(f"{MOUNT} has no control groups: mount them")
    if not Path("/proc/sys/net/bridge").is_dir():
        lacks.append("the kernel passes bridged packets by its firewall: modprobe br_netfilter")
    return lacks
