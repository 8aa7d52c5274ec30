"""models.toml as one checked object, or one error line for each mistake in it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from ai102.contract.ensemble import Ensemble
from ai102.contract.mistakes import table_from_file, table_from_text
from ai102.contract.network import Network
from ai102.contract.scaling import Scaling
from ai102.contract.served import ServedModel, model_of_ensemble, model_that_seals, models_of_network
from ai102.contract.server import ServerSettings, check_resources
from ai102.contract.table import Name, Table


class Costs(Table):
    """What the answers cost, in any currency; 0: not known, and no cost is shown."""

    replica_hour: float = Field(0, ge=0, examples=["0.10"])


class Contract(Table):
    """All of models.toml."""

    server: ServerSettings = Field(ServerSettings(), examples=['{ triton = "2.51" }'])
    costs: Costs = Field(Costs(), examples=["{ replica_hour = 0.10 }"])
    scaling: Scaling = Field(Scaling(), examples=["{ min_replicas = 3 }"])
    networks: dict[Name, Network] = Field(min_length=1, examples=["one table [networks.NAME] per network"])
    ensembles: dict[Name, Ensemble] = Field({}, examples=["one table [ensembles.NAME] per ensemble"])

    @model_validator(mode="after")
    def _names_and_flow(self) -> Self:
        models = self.served_models  # raises if an ensemble's tensors do not match
        names = [model.name for model in models]
        if double := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f'two models would be called "{double}": rename a network or an ensemble')
        check_resources(self.server, self.networks)
        for name, ensemble in self.ensembles.items():
            networks_ms = self.latency_goals_ms(ensemble)
            if ensemble.goals and ensemble.goals.p99_ms < networks_ms:
                raise ValueError(
                    f"ensembles.{name}.goals.p99_ms is {ensemble.goals.p99_ms:g} but the latency_goal of its networks "
                    f"is {networks_ms:g} together: write at least that, or lower theirs"
                )
        return self

    def latency_goals_ms(self, ensemble: Ensemble) -> float:
        """The p99 that all networks of an ensemble may take together; 0 without a network."""
        networks = {model.name: model.network for model in self.served_models if model.kind == "onnx"}
        names = [networks[step.model] for step in ensemble.steps if step.model in networks]
        return sum(self.networks[name].latency_goal.p99_ms for name in names if name)

    @property
    def served_models(self) -> list[ServedModel]:
        """Every folder of model_repository: the networks' models first, then the ensembles."""
        models = [model for name, net in self.networks.items() for model in models_of_network(name, net)]
        by_name = {model.name: model for model in models}
        for name, ensemble in self.ensembles.items():
            try:
                models.append(model_of_ensemble(name, ensemble, by_name))
            except ValueError as err:
                raise ValueError(f"ensembles.{name}.{err}") from err
            if ensemble.sealed:
                models.append(model_that_seals(models[-1]))
        return models

    @property
    def pipelines(self) -> list[tuple[str, Ensemble]]:
        """The ensembles in order of preference, for callers that name none.

        The contract's order, except that an ensemble whose steps another one runs in one process comes last.
        """
        joined = [ensemble for ensemble in self.ensembles.values() if ensemble.in_one_process]

        def has_faster_form(ensemble: Ensemble) -> bool:
            return not ensemble.in_one_process and any(ensemble.answers_like(other) for other in joined)

        return sorted(self.ensembles.items(), key=lambda item: has_faster_form(item[1]))


def load(path: Path) -> Contract:
    """The contract in `path`.

    Raises UserError with one line per mistake: file, table and key, what is wrong, what to write.
    """
    return table_from_file(path, Contract)


def contract_from_text(text: str, path: Path) -> Contract:
    """The contract in `text`; `path` names it in errors, which are those of `load`."""
    return table_from_text(text, path, Contract)
