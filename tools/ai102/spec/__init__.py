"""The contract: models.toml and what follows from it."""

from ai102.spec.contract import Contract, contract_from_text, load
from ai102.spec.ensemble import Ensemble, Step
from ai102.spec.served import SEALED, ServedModel, network_step
from ai102.spec.tables import Budget, Method, Network, Precision, Recipe, Tensor, TensorRTOptions
from ai102.spec.tasks import TASKS, TEXT_TASKS, Task

__all__ = [
    "SEALED",
    "TASKS",
    "TEXT_TASKS",
    "Budget",
    "Contract",
    "Ensemble",
    "Method",
    "Network",
    "Precision",
    "Recipe",
    "ServedModel",
    "Step",
    "Task",
    "Tensor",
    "TensorRTOptions",
    "contract_from_text",
    "load",
    "network_step",
]
