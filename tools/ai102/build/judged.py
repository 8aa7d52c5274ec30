"""Whether the INT8 models that are served were judged by the contract as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ai102 import artifact
from ai102.build.contract_inputs import contract_inputs
from ai102.contract import Network

if TYPE_CHECKING:
    from ai102.build.workspace import Workspace

# The fact of a judged model's manifest that says by which contract.
JUDGED_AS = "judged_as"


def judged_as(network: Network) -> str:
    """One hash of all keys of the contract that a judgement depends on: preprocessing, labels, metric, budget."""
    return artifact.sha256_of_text(contract_inputs("quantize", network)["contract"])


def judged_otherwise(workspace: Workspace) -> list[str]:
    """The networks whose served INT8 model was judged before their table in models.toml was changed."""
    return [name for name in workspace.contract.networks if _differs(workspace, name)]


def is_judged_by(network: Network, facts: Mapping[str, object]) -> bool:
    """Whether the manifest's facts tell of a judgement by this table; what was never judged is as it should be."""
    return facts.get(JUDGED_AS, judged_as(network)) == judged_as(network)


def _differs(workspace: Workspace, name: str) -> bool:
    builds, model = workspace.builds(name), f"{name}_int8"
    if model not in builds.models or not builds.installed(model):
        return False
    return not is_judged_by(workspace.network(name), artifact.facts_of(builds.newest(model) / "model.onnx"))
