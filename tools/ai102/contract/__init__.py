"""The contract: models.toml, and the models and pipelines that follow from it."""

from ai102.contract.contract import Contract, contract_from_text, load
from ai102.contract.ensemble import Ensemble, Step
from ai102.contract.network import Network
from ai102.contract.served import SEALED, ServedModel, network_step
from ai102.contract.server import ServerSettings
from ai102.contract.tables import Budget, Method, Precision, Recipe, Tensor, TensorRTOptions
from ai102.contract.tasks import TASKS, TEXT_TASKS, Task

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
    "ServerSettings",
    "Step",
    "Task",
    "Tensor",
    "TensorRTOptions",
    "contract_from_text",
    "load",
    "network_step",
]
