"""A node: containerd, the kubelet, kube-proxy and the firewall of NetworkPolicies, with the files that they read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from k8s.local import cgroups
from k8s.local.components import Component
from k8s.local.plan import DNS_SERVICE, DOMAIN, NODES, PODS, REGISTRY_ADDRESS, SERVICES, Machine, Plan
from k8s.local.programs import Programs
from k8s.local.timings import NODE_LEASE_S, NODE_STATUS_S, PRESSURE_ENDS_S

# Inside the node.
SOCKET = "/run/containerd/containerd.sock"
# Where an add-on puts a plugin for the network of pods, on the node's own disk.
ADDED_PLUGINS = "/var/lib/cni/bin"

CONTAINERD = """\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "{socket}"

[ttrpc]
address = "{socket}.ttrpc"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{sandbox}"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "{certificates}"

[plugins."io.containerd.cri.v1.runtime"]
# The kernel lets nobody lower it without CAP_SYS_RESOURCE.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{cni}", "{added}"]
conf_dir = "{networks}"
"""

# Every image of every registry comes from the cluster's own, as behind the mirror of a closed network.
MIRROR = """\
server = "https://{address}"

[host."https://{address}"]
capabilities = ["pull", "resolve"]
ca = "{ca}"
"""


def containerd(plan: Plan, node: Machine, programs: Programs, sandbox: str) -> Component:
    """`sandbox` is the image of the first process of every pod."""
    folder = plan.folder_of(node) / "etc"
    configuration = CONTAINERD.format(
        socket=SOCKET,
        sandbox=sandbox,
        certificates=folder / "certs.d",
        cni=programs.cni_bridge.parent,
        added=ADDED_PLUGINS,
        networks=networks_of(plan, node),
    )
    mirror = MIRROR.format(address=REGISTRY_ADDRESS, ca=plan.pki / "ca.crt")
    files = {
        folder / "containerd.toml": configuration,
        folder / "certs.d" / "_default" / "hosts.toml": mirror,
        networks_of(plan, node) / "10-pods.conflist": _text(pod_network(node)),
    }
    command = (str(programs.containerd), "--config", str(folder / "containerd.toml"))
    return Component("containerd", node, command, files, (programs.containerd.parent, programs.runc.parent))


def kubelet(plan: Plan, node: Machine, programs: Programs) -> Component:
    folder = plan.folder_of(node) / "etc"
    files = {
        folder / "kubelet.json": _text(kubelet_configuration(plan, node)),
        folder / "resolv.conf": "# Pods ask the cluster's DNS, which asks nobody.\n",
    }
    options = [
        f"--config={folder / 'kubelet.json'}",
        f"--kubeconfig={plan.pki / node.name}.kubeconfig",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        f"--node-labels=topology.kubernetes.io/zone={node.zone}",
        "--v=2",
    ]
    return Component("kubelet", node, (str(programs.kubelet), *options), files)


def kube_proxy(plan: Plan, node: Machine, programs: Programs) -> Component:
    file = plan.folder_of(node) / "etc" / "kube-proxy.json"
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "hostnameOverride": node.name,
        "oomScoreAdj": 0,
        # These settings belong to the kernel as a whole.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "clientConnection": {"kubeconfig": str(plan.pki / "kube-proxy.kubeconfig")},
    }
    command = (str(programs.kube_proxy), f"--config={file}")
    return Component("kube-proxy", node, command, {file: _text(configuration)})


def kube_router(plan: Plan, node: Machine, programs: Programs) -> Component:
    """The firewall alone: addresses and Services are made by others."""
    options = [
        f"--kubeconfig={plan.pki / 'kube-router.kubeconfig'}",
        f"--hostname-override={node.name}",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--service-cluster-ip-range={SERVICES}",
        "--metrics-port=0",
    ]
    return Component("kube-router", node, (str(programs.kube_router), *options))


def networks_of(plan: Plan, node: Machine) -> Path:
    """The folder with descriptions of the pods' network; containerd takes the first by name."""
    return plan.folder_of(node) / "etc" / "cni"


def pod_network(node: Machine) -> dict[str, object]:
    """The plugins that give a pod its address: a bridge of the node, to which all its pods are joined."""
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni-addresses",  # forgotten with a restart of the node, as its pods are
        "ranges": [[{"subnet": node.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": addresses,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}


def kubelet_configuration(plan: Plan, node: Machine) -> dict[str, object]:
    pki = plan.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.group_of(plan, node),
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(pki / f"{node.name}.key"),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "serializeImagePulls": False,
        "resolvConf": str(plan.folder_of(node) / "etc" / "resolv.conf"),
        "nodeStatusUpdateFrequency": f"{NODE_STATUS_S}s",
        "nodeLeaseDurationSeconds": NODE_LEASE_S,
        "systemReserved": share_of_others(os.cpu_count() or 1, _memory_bytes()),
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": "5%",
            "imagefs.available": "5%",
            "nodefs.inodesFree": "2%",
        },
        "evictionPressureTransitionPeriod": f"{PRESSURE_ENDS_S}s",
        # A load test fills a disk with images faster than anyone collects them; a full disk shall be seen as one.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def share_of_others(cpus: int, memory_bytes: int) -> Mapping[str, str]:
    """What a node leaves to the other nodes of the same machine, so that together they promise it once."""
    others = len(NODES) - 1
    return {
        "cpu": f"{cpus * 1000 * others // len(NODES)}m",
        "memory": f"{memory_bytes * others // len(NODES) >> 20}Mi",
    }


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _text(document: object) -> str:
    return json.dumps(document, indent=1) + "\n"
