"""What is installed into the cluster when asked: one row each, by manifests and images of parts of the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ai102 import artifact
from ai102.errors import UserError
from ai102.parts import Cache, carried, load, program
from k8s.local import api, images, manifests, registry, written
from k8s.local.plan import Plan
from k8s.local.waiting import until

FOLDER = Path(__file__).parent / "addons"
READY_TIMEOUT_S = 180.0
EXTERNAL_METRICS = "v1beta1.external.metrics.k8s.io"


@dataclass(frozen=True)
class Addon:
    """`folder` below addons/ has its manifests, or a kustomize component that patches those that its part carries."""

    name: str
    namespace: str
    # What its manifests call an image, and the program of a part of which that image is made.
    programs: Mapping[str, tuple[str, str]]
    # The kustomization that a part carries: the part, the name there, and a folder in it.
    carried: tuple[str, str, str] | None = None
    api_services: tuple[str, ...] = ()  # APIs that are served by its pods, and must answer
    # Or what writes its manifests, with the names of its images.
    written: Callable[[Plan, Cache, Mapping[str, str]], str] | None = None
    # Of an image: what lies beside its program, by the path there; each a program or a file of a part.
    beside: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    webhooks: tuple[str, ...] = ()  # MutatingWebhookConfigurations to which it must have written its certificate

    @property
    def patches(self) -> bool:
        """Whether its folder is a component over manifests from elsewhere."""
        return self.carried is not None or self.written is not None


ADDONS = (
    Addon(
        "metrics-server",
        "kube-system",
        {"gcr.io/k8s-staging-metrics-server/metrics-server": ("metrics-server", "metrics-server")},
        ("metrics-server", "manifests", "base"),
        ("v1beta1.metrics.k8s.io",),
    ),
    Addon(
        "kube-state-metrics",
        "kube-system",
        {"registry.k8s.io/kube-state-metrics/kube-state-metrics": ("kube-state-metrics", "kube-state-metrics")},
        ("kube-state-metrics", "manifests", ""),
    ),
    Addon("prometheus", "monitoring", {"prometheus": ("prometheus", "prometheus")}),
    Addon(
        "keda",
        "keda",
        {
            "ghcr.io/kedacore/keda": ("keda", "keda-operator"),
            "ghcr.io/kedacore/keda-metrics-apiserver": ("keda", "keda-adapter"),
        },
        ("keda", "manifests", "minimal"),
        (EXTERNAL_METRICS,),
    ),
    Addon(
        "prometheus-adapter",
        "prometheus-adapter",
        {"prometheus-adapter": ("prometheus-adapter", "prometheus-adapter")},
        api_services=(EXTERNAL_METRICS,),
    ),
    Addon(
        "istio",
        "istio-system",
        {
            "pilot": ("istio", "pilot-discovery"),
            "proxyv2": ("istio", "pilot-agent"),
            "install-cni": ("istio", "install-cni"),
        },
        written=written.istio,
        beside={
            "proxyv2": {
                "usr/local/bin/envoy": ("envoy", "envoy"),
                "var/lib/istio/envoy/envoy_bootstrap_tmpl.json": ("istio", "envoy-bootstrap"),
            },
            "install-cni": {"opt/cni/bin/istio-cni": ("istio", "istio-cni")},
        },
        webhooks=("istio-sidecar-injector",),
    ),
    Addon(
        "flagger",
        "flagger",
        {"ghcr.io/fluxcd/flagger": ("flagger", "flagger")},
        written=written.flagger,
    ),
)
# They serve the same API: the one that was installed last has it.
EITHER_OR = {"keda", "prometheus-adapter"}


def named(names: list[str]) -> list[Addon]:
    """The add-ons, in the order of the table. Raises UserError for an unknown name or two that exclude each other."""
    known = [addon.name for addon in ADDONS]
    for name in names:
        if name not in known:
            raise UserError(f'there is no add-on "{name}": the add-ons are {", ".join(known)}')
    if set(names) >= EITHER_OR:
        raise UserError(
            f"{' and '.join(sorted(EITHER_OR))} serve the same API, external.metrics.k8s.io: name one of them"
        )
    return [addon for addon in ADDONS if addon.name in names]


def install(plan: Plan, addon: Addon, cache: Cache, kubectl: Path, check: Callable[[], None]) -> None:
    """Apply it and wait until its pods are ready and its APIs answer. Raises UserError."""
    targets = {}
    for image, (part, name) in addon.programs.items():
        beside = {path: _lying(*source, cache) for path, source in addon.beside.get(image, {}).items()}
        made = images.image_of(program(part, name, cache=cache), name, beside=beside)
        (targets[image],) = registry.push(plan, [made])
    for service in addon.api_services:
        _take_over(plan, addon, service, kubectl)
    folder = FOLDER / addon.name
    if addon.patches:
        manifests.apply_folders(plan, kubectl, [_base(plan, addon, cache, targets)], targets, [folder])
    else:
        manifests.apply_folders(plan, kubectl, [folder], targets)
    until(lambda: _is_ready(plan, addon), f"the pods and APIs of {addon.name} are ready", READY_TIMEOUT_S, check)


def _take_over(plan: Plan, addon: Addon, service: str, kubectl: Path) -> None:
    """Remove an API of another add-on: with that one's certificate in it, the API server takes no other."""
    answer = api.get(plan, f"/apis/apiregistration.k8s.io/v1/apiservices/{service}")
    if answer and answer["spec"]["service"]["namespace"] != addon.namespace:
        api.kubectl(plan, kubectl, "delete", "apiservice", service)


def _base(plan: Plan, addon: Addon, cache: Cache, targets: Mapping[str, str]) -> Path:
    """The kustomization that the add-on's folder patches."""
    if addon.carried is not None:
        part, name, below = addon.carried
        return carried(part, name, cache=cache) / below
    assert addon.written is not None
    folder = plan.folder / "manifests" / addon.name / "written"
    artifact.write_text(folder / "all.yaml", addon.written(plan, cache, targets))
    artifact.write_text(folder / "kustomization.yaml", manifests.overlay(["all.yaml"], {}))
    return folder


def _lying(part: str, name: str, cache: Cache) -> Path:
    """Where a program or file of a part lies. Raises UserError."""
    is_program = name in load().part(part).programs
    return (program if is_program else carried)(part, name, cache=cache)


def _is_ready(plan: Plan, addon: Addon) -> bool:
    pods = [pod for pod in api.pods(plan, addon.namespace) if not pod.is_over]
    if not pods or not all(pod.is_ready for pod in pods) or not api.is_rolled_out(plan, addon.namespace):
        return False
    return all(_answers(plan, name) for name in addon.api_services) and all(
        _has_certificate(plan, name) for name in addon.webhooks
    )


def _answers(plan: Plan, service: str) -> bool:
    answer = api.get(plan, f"/apis/apiregistration.k8s.io/v1/apiservices/{service}")
    conditions = answer["status"].get("conditions", []) if answer else []
    return any(each["type"] == "Available" and each["status"] == "True" for each in conditions)


def _has_certificate(plan: Plan, name: str) -> bool:
    """Whether the API server knows the certificate of all webhooks of a configuration: before, they refuse pods."""
    answer = api.get(plan, f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{name}")
    return bool(answer) and all(each["clientConfig"].get("caBundle") for each in answer["webhooks"])
