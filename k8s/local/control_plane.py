"""The control plane: etcd, the API server, the controller manager and the scheduler, on one machine."""

from __future__ import annotations

from k8s.local.components import Component
from k8s.local.plan import API_PORT, CONTROL, DOMAIN, SERVICES, Plan
from k8s.local.programs import Programs
from k8s.local.timings import NODE_CHECK_S, NODE_GRACE_S, SCALE_DOWN_S, SCALING_S, TOLERATION_S

ETCD_URL = "http://127.0.0.1:2379"  # reachable from its own machine alone


def etcd(plan: Plan, programs: Programs) -> Component:
    options = {
        "data-dir": plan.folder_of(CONTROL) / "etcd",
        "listen-client-urls": ETCD_URL,
        "advertise-client-urls": ETCD_URL,
        # What is lost when this machine loses its power is a cluster for tests.
        "unsafe-no-fsync": "true",
    }
    return Component("etcd", CONTROL, (str(programs.etcd), *_flags(options)))


def api_server(plan: Plan, programs: Programs) -> Component:
    pki = plan.pki
    options = {
        "etcd-servers": ETCD_URL,
        "advertise-address": CONTROL.address,
        "secure-port": API_PORT,
        "service-cluster-ip-range": SERVICES,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        # By address: no DNS knows the names of the nodes.
        "kubelet-preferred-address-types": "InternalIP",
        "kubelet-client-certificate": pki / "kubelet-client.crt",
        "kubelet-client-key": pki / "kubelet-client.key",
        "client-ca-file": pki / "ca.crt",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "service-account-issuer": f"https://kubernetes.default.svc.{DOMAIN}",
        "service-account-key-file": pki / "service-accounts.pub",
        "service-account-signing-key-file": pki / "service-accounts.key",
        # APIs that are served by pods: metrics, KEDA. This machine knows the ways to pods, not the Services.
        "enable-aggregator-routing": "true",
        "proxy-client-cert-file": pki / "front-proxy.crt",
        "proxy-client-key-file": pki / "front-proxy.key",
        "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "default-not-ready-toleration-seconds": TOLERATION_S,
        "default-unreachable-toleration-seconds": TOLERATION_S,
    }
    return Component("kube-apiserver", CONTROL, (str(programs.kube_apiserver), *_flags(options)))


def controller_manager(plan: Plan, programs: Programs) -> Component:
    pki = plan.pki
    options = {
        **_kubeconfigs(plan, "controller-manager"),
        "use-service-account-credentials": "true",
        "service-account-private-key-file": pki / "service-accounts.key",
        "root-ca-file": pki / "ca.crt",
        "cluster-signing-cert-file": pki / "ca.crt",
        "cluster-signing-key-file": pki / "ca.key",
        # It makes the accounts of its parts first; by the default of 20 calls a second that takes 5 s.
        "kube-api-qps": "200",
        "kube-api-burst": "400",
        "node-monitor-period": f"{NODE_CHECK_S}s",
        "node-monitor-grace-period": f"{NODE_GRACE_S}s",
        "horizontal-pod-autoscaler-sync-period": f"{SCALING_S}s",
        "horizontal-pod-autoscaler-downscale-stabilization": f"{SCALE_DOWN_S}s",
    }
    return Component("kube-controller-manager", CONTROL, (str(programs.kube_controller_manager), *_flags(options)))


def scheduler(plan: Plan, programs: Programs) -> Component:
    options = _kubeconfigs(plan, "scheduler")
    return Component("kube-scheduler", CONTROL, (str(programs.kube_scheduler), *_flags(options)))


def _kubeconfigs(plan: Plan, caller: str) -> dict[str, object]:
    file = plan.pki / f"{caller}.kubeconfig"
    return {
        "kubeconfig": file,
        "authentication-kubeconfig": file,
        "authorization-kubeconfig": file,
        "leader-elect": "false",  # there is one
    }


def _flags(options: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]
