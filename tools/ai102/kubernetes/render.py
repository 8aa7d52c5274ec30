"""The generated files of k8s/: written, or compared with what is committed."""

from __future__ import annotations

from pathlib import Path

from ai102 import contract, generated
from ai102.kubernetes import footprint
from ai102.kubernetes.patches import budget_patch, deployment_patch
from ai102.kubernetes.policy import COLLECTOR, policy_for_cluster
from ai102.kubernetes.rules import prometheus_rule
from ai102.kubernetes.scaling import adapter_config, autoscaler_patch, scaled_object_patch, thresholds_of
from ai102.kubernetes.sizes import sizes_of

BASE, COMPONENTS, OVERLAYS = Path("k8s/base"), Path("k8s/components"), Path("k8s/overlays")
ADDONS = Path("k8s/local/addons")
# Kustomize reads no file outside of its folder, and `kubectl apply -k` has no flag for that: so these are copies.
COPIED = ("models.toml", "masking.toml")
COPY_HEAD = "# Copied by `ai102 kubernetes render` from {name}; change that file and render again.\n"
# Of the measured cores: several replicas fit on a laptop, and carry as much together as one.
DEV_SHARE = 0.25


def files(home: Path) -> dict[Path, str]:
    """Each generated file by its path, for the repository in `home`. Raises UserError."""
    promised = contract.load(home / "models.toml")
    measured = footprint.load(home / footprint.FILE)
    sizes = sizes_of(promised, measured, promised.scaling)
    small = promised.scaling.model_copy(update={"min_replicas": min(2, promised.scaling.min_replicas)})
    dev = sizes_of(promised, measured, small, DEV_SHARE)
    gateway = (home / "gateway.toml").read_text(encoding="utf-8")
    texts = {
        BASE / "contract" / name: COPY_HEAD.format(name=name) + (home / name).read_text(encoding="utf-8")
        for name in COPIED
    }
    texts |= {
        BASE / "contract" / "gateway.toml": policy_for_cluster(gateway, promised.scaling),
        BASE / "triton" / "sizes.patch.yaml": deployment_patch(sizes),
        BASE / "triton" / "budget.patch.yaml": budget_patch(sizes),
        COMPONENTS / "traces" / "gateway.toml": policy_for_cluster(gateway, promised.scaling, collector=COLLECTOR),
        COMPONENTS / "mesh" / "gateway.toml": policy_for_cluster(gateway, promised.scaling, discovery="mesh"),
        COMPONENTS / "logs" / "masking.toml": texts[BASE / "contract" / "masking.toml"],
        COMPONENTS / "keda" / "thresholds.patch.yaml": scaled_object_patch(thresholds_of(sizes)),
        COMPONENTS / "hpa-adapter" / "thresholds.patch.yaml": autoscaler_patch(thresholds_of(sizes)),
        COMPONENTS / "hpa-adapter" / "adapter-config.configmap.yaml": adapter_config("monitoring"),
        ADDONS / "prometheus-adapter" / "adapter-config.configmap.yaml": adapter_config("prometheus-adapter"),
        COMPONENTS / "prometheus-operator" / "rules.yaml": prometheus_rule((home / "monitoring/rules").glob("*.yaml")),
        OVERLAYS / "dev" / "gateway.toml": policy_for_cluster(gateway, small),
        OVERLAYS / "dev" / "sizes.patch.yaml": deployment_patch(dev),
        OVERLAYS / "dev" / "budget.patch.yaml": budget_patch(dev),
    }
    return {home / path: text for path, text in texts.items()}


def write(home: Path) -> list[Path]:
    """Write what differs; gives it."""
    return generated.write(files(home))


def outdated(home: Path) -> list[Path]:
    """The generated files that are not as they should be."""
    return generated.outdated(files(home))
