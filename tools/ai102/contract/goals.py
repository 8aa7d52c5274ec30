"""What callers of each pipeline are promised: as its table says, or derived from its networks."""

from __future__ import annotations

from collections.abc import Mapping

from ai102.contract.contract import Contract
from ai102.contract.served import SEALED
from ai102.contract.serving import Goals

# Where no network says how long it may take.
WITHOUT_NETWORK_MS = 100.0
# Queue, gateway and the other steps may take as long again as the networks.
TIMES_NETWORKS = 2.0


def goals_of(contract: Contract) -> dict[str, Goals]:
    """By pipeline, the sealed forms too; in the contract's order."""
    goals: dict[str, Goals] = {}
    for name, ensemble in contract.ensembles.items():
        networks_ms = contract.latency_goals_ms(ensemble)
        derived = Goals(success_percent=99.9, p99_ms=TIMES_NETWORKS * networks_ms or WITHOUT_NETWORK_MS)
        goals[name] = ensemble.goals or derived
        if ensemble.sealed:
            goals[SEALED + name] = goals[name]
    return goals


def networks_behind(contract: Contract) -> Mapping[str, tuple[str, ...]]:
    """By pipeline, the models of networks that it runs."""
    networks = {model.name for model in contract.served_models if model.kind == "onnx"}
    behind = {
        name: tuple(step.model for step in ensemble.steps if step.model in networks)
        for name, ensemble in contract.ensembles.items()
    }
    return {name: behind[name.removeprefix(SEALED) if name not in behind else name] for name in goals_of(contract)}
