"""Loads candidates on a running server by config override, and restores its configs afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tritonclient.grpc import model_config_pb2 as pb

from ai102.client import BadRequestError, Client, RefusedError, ServerFailedError
from ai102.client.words import Meaning
from ai102.configs.configure import Target
from ai102.configs.model_config import config_from_model
from ai102.contract import Contract
from ai102.errors import UserError
from ai102.tune.candidate import Candidate, network_with
from ai102.tune.search import ConfigRefusedError
from ai102.tune.subject import Subject

LOAD_TIMEOUT_S = 120.0


class Serving:
    """The models of one network on one server, with a candidate's config."""

    def __init__(self, client: Client, contract: Contract, subject: Subject) -> None:
        """Raises UserError when no server answers, or the models are not loaded there."""
        self.contract, self._client, self._subject = contract, client, subject
        ready = {row.name for row in client.models() if row.state == "READY"}
        requested = client.config(subject.requested)  # raises if it is not loaded
        # An ensemble in one process runs the network itself: its own config is tuned.
        is_one_process = subject.requested in contract.ensembles and requested.platform != "ensemble"
        models = (subject.requested,) if is_one_process else (subject.tuned, *subject.around)
        self.originals = {model: client.config(model) for model in models}
        ensembles = {name: client.config(name) for name in _ensembles_of(contract, subject) if name in ready}
        self.ensembles = (
            {} if is_one_process else {name: c for name, c in ensembles.items() if c.platform == "ensemble"}
        )
        self._loaded: dict[str, str] = {}
        self._changed: list[str] = []

    @property
    def target(self) -> Target:
        is_plan = any(config.platform == "tensorrt_plan" for config in self.originals.values())
        return "tensorrt" if is_plan else "onnxruntime"

    def limit_ensembles(self, smallest_batch: int) -> None:
        """Lower the ensembles' max_batch_size to the smallest candidate's: Triton refuses larger ensembles."""
        for name, config in self.ensembles.items():
            if config.max_batch_size > smallest_batch:
                lowered = pb.ModelConfig()
                lowered.CopyFrom(config)
                lowered.max_batch_size = smallest_batch
                self._load(name, lowered)

    def use(self, candidate: Candidate) -> None:
        """Serve the candidate. Raises ConfigRefusedError; then the previous one is still served."""
        for name, config in self.configs(candidate).items():
            if self._loaded.get(name) != repr(config):
                self._load(name, config)
                self._loaded[name] = repr(config)

    def configs(self, candidate: Candidate) -> dict[str, pb.ModelConfig]:
        """The configs that `ai102 configure` would write with the candidate in models.toml."""
        contract = contract_with(self.contract, self._subject.network, candidate)
        models = {model.name: model for model in contract.served_models}
        configs = {name: config_from_model(models[name], contract, models, self.target) for name in self.originals}
        for name, config in configs.items():
            for capability, plan in self.originals[name].cc_model_filenames.items():
                config.cc_model_filenames[capability] = plan
        return configs

    def restore(self) -> None:
        """Restore all configs; models first, since an ensemble's batch size must not exceed theirs."""
        for name in [*self.originals, *self.ensembles]:
            if name in self._changed:
                self._load_now(name, self.originals[name] if name in self.originals else self.ensembles[name])
        self._changed.clear()
        self._loaded.clear()

    def settle(self, candidate: Candidate) -> None:
        """Serve the candidate for good, with the ensembles' configs that follow from it."""
        self.use(candidate)
        contract = contract_with(self.contract, self._subject.network, candidate)
        models = {model.name: model for model in contract.served_models}
        for name in self.ensembles:
            self._load_now(name, config_from_model(models[name], contract, models, self.target))
        self._changed.clear()

    def _load(self, name: str, config: pb.ModelConfig) -> None:
        self._changed.append(name)  # first: an interrupt may happen while it loads
        self._load_now(name, config)

    def _load_now(self, name: str, config: pb.ModelConfig) -> None:
        try:
            self._client.load(name, config, timeout_s=LOAD_TIMEOUT_S)
        except RefusedError as err:
            if err.meaning is not Meaning.NO_EXPLICIT_CONTROL:
                raise
            raise UserError(
                f"{self._client.url}: not in explicit model control mode, so it accepts no config override; start it "
                f"with `ai102 serve --model {name}`, or leave --url out"
            ) from err
        except (BadRequestError, ServerFailedError) as err:
            raise ConfigRefusedError(f"{self._client.url}: {name} was not loaded: {err}") from err


@contextmanager
def restored(serving: Serving) -> Iterator[Serving]:
    """The block may load candidates on the server; its own configs are restored at the end, also after an error."""
    import signal

    try:
        yield serving
    finally:
        # A second Ctrl-C must not interrupt the restoration.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            serving.restore()
        finally:
            signal.signal(signal.SIGINT, previous)


def contract_with(contract: Contract, network: str, candidate: Candidate) -> Contract:
    changed = network_with(contract.networks[network], candidate)
    return contract.model_copy(update={"networks": {**contract.networks, network: changed}})


def _ensembles_of(contract: Contract, subject: Subject) -> list[str]:
    """The ensembles that have one of the models as a step."""
    ours = {subject.tuned, *subject.around}
    return [name for name, table in contract.ensembles.items() if ours & {step.model for step in table.steps}]
