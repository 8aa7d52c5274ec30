"""The contract: models.toml and what follows from it."""

from ai102.spec.contract import Contract, load
from ai102.spec.served import ServedModel
from ai102.spec.tables import Budget, Ensemble, Method, Network, Precision, Recipe, Step, Tensor, TensorRTOptions

__all__ = [
    "Budget",
    "Contract",
    "Ensemble",
    "Method",
    "Network",
    "Precision",
    "Recipe",
    "ServedModel",
    "Step",
    "Tensor",
    "TensorRTOptions",
    "load",
]
