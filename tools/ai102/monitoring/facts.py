"""What model_repository should serve and how its INT8 was judged, in Prometheus' text format for node exporter."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from ai102.build.judged import judged_otherwise
from ai102.build.workspace import Workspace


def facts_text(workspace: Workspace) -> str:
    """For node exporter's textfile collector."""
    registry = CollectorRegistry()
    expected = Gauge(
        "ai102_model_expected_version", "1 for a version of a model that model_repository has to be served.",
        ["model", "version"], registry=registry,
    )  # fmt: skip
    for model in workspace.contract.served_models:
        served = workspace.contract.networks[model.network].versions.serve if model.network else 1
        for number in versions(workspace, model.name)[-served:]:
            expected.labels(model.name, str(number)).set(1)
    current = Gauge(
        "ai102_int8_gate_is_current", "0 when the served INT8 was judged by another table of models.toml.",
        ["network"], registry=registry,
    )  # fmt: skip
    stale = judged_otherwise(workspace)
    for name, network in workspace.contract.networks.items():
        if "int8" in network.precisions:
            current.labels(name).set(name not in stale)
    return generate_latest(registry).decode()


def versions(workspace: Workspace, model: str) -> list[int]:
    """The version folders of a model that Triton would find, the newest last."""
    folder = workspace.repository / model
    return sorted(int(entry.name) for entry in folder.glob("[1-9]*") if entry.name.isdecimal() and entry.is_dir())
