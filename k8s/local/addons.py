"""What is installed into the cluster when asked: one row each, by manifests and images of parts of the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ai102.errors import UserError
from ai102.parts import Cache, carried, program
from k8s.local import api, images, manifests, registry
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
        made = images.image_of(program(part, name, cache=cache), name)
        (targets[image],) = registry.push(plan, [made])
    folder = FOLDER / addon.name
    if addon.carried is None:
        manifests.apply_folders(plan, kubectl, [folder], targets)
    else:
        part, name, below = addon.carried
        manifests.apply_folders(plan, kubectl, [carried(part, name, cache=cache) / below], targets, [folder])
    until(lambda: _is_ready(plan, addon), f"the pods and APIs of {addon.name} are ready", READY_TIMEOUT_S, check)


def _is_ready(plan: Plan, addon: Addon) -> bool:
    pods = [pod for pod in api.pods(plan, addon.namespace) if not pod.is_over]
    return bool(pods) and all(pod.is_ready for pod in pods) and all(_answers(plan, name) for name in addon.api_services)


def _answers(plan: Plan, service: str) -> bool:
    answer = api.get(plan, f"/apis/apiregistration.k8s.io/v1/apiservices/{service}")
    conditions = answer["status"].get("conditions", []) if answer else []
    return any(each["type"] == "Available" and each["status"] == "True" for each in conditions)
