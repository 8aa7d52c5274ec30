"""Which of the contract's ensembles the API asks, and what they take and give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from ai102.contract import Contract, ServedModel
from ai102.errors import UserError


class Scores(NamedTuple):
    """An ensemble whose one output is the score of each label, in the order of `labels`."""

    model: str
    input: str
    output: str
    labels: tuple[str, ...]


class Classifier(NamedTuple):
    """An ensemble that takes an encoded image: its best label by `label` and `score`, or all of them by `scores`.

    `scores` may be another ensemble over the same network, asked when more than the best label is wanted.
    """

    model: str
    input: str
    label: str
    score: str
    labels: tuple[str, ...]
    scores: Scores | None

    @property
    def max_top(self) -> int:
        """How many of the best labels can be told."""
        return len(self.scores.labels) if self.scores else 1


class Embedder(NamedTuple):
    """An ensemble that takes a text; `truncated` is empty where it does not tell whether the text was cut."""

    model: str
    input: str
    embedding: str
    truncated: str
    width: int  # of an embedding; -1 where it varies


_Kind = TypeVar("_Kind", Classifier, Embedder)


class Asked(NamedTuple):
    """What the API offers; one of them may be missing."""

    classifier: Classifier | None
    embedder: Embedder | None


class _Origin(NamedTuple):
    """The step that makes a tensor of an ensemble, and what that step calls it."""

    model: ServedModel
    tensor: str


def asked_from_contract(contract: Contract, classify: str = "", embed: str = "") -> Asked:
    """The first ensemble of each kind, or those named. Raises UserError when one named is no such ensemble."""
    classifiers, embedders = tuple(_classifiers(contract)), tuple(_embedders(contract))
    asked = Asked(
        _chosen("--classify", classify, classifiers, "takes an encoded image and gives label and score, or scores"),
        _chosen("--embed", embed, embedders, "takes a text and gives an embedding"),
    )
    if asked == (None, None):
        raise UserError("models.toml: no ensemble takes an image and gives labels, or a text and gives an embedding")
    return asked


def _chosen(option: str, name: str, known: tuple[_Kind, ...], what: str) -> _Kind | None:
    if not name:
        return known[0] if known else None
    for one in known:
        if one.model == name:
            return one
    names = ", ".join(one.model for one in known) or "none"
    raise UserError(f'{option} is "{name}", no ensemble that {what}; of that kind: {names}')


def _classifiers(contract: Contract) -> Iterator[Classifier]:
    found: dict[str, tuple[str, Classifier]] = {}  # with the network's model inside it
    all_scores: dict[str, Scores] = {}
    for name, origins, takes in _ensembles(contract, "decode_image"):
        by_place = {(origin.model.kind, origin.tensor): tensor for tensor, origin in origins.items()}
        label, score = by_place.get(("label_scores", "label")), by_place.get(("label_scores", "score"))
        steps = [step.model for step in contract.ensembles[name].steps]
        inner = next((m for m in contract.served_models if m.kind == "onnx" and m.name in steps), None)
        if inner is None or inner.network is None:
            continue
        labels = contract.networks[inner.network].labels
        scores = [tensor for tensor, origin in origins.items() if origin.model == inner]
        if labels and scores:
            all_scores.setdefault(inner.name, Scores(name, takes, scores[0], labels))
        if label and score:
            found[name] = inner.name, Classifier(name, takes, label, score, labels, None)
        elif labels and scores:
            found[name] = inner.name, Classifier(name, takes, "", "", labels, Scores(name, takes, scores[0], labels))
    for inner_name, classifier in found.values():
        yield classifier._replace(scores=classifier.scores or all_scores.get(inner_name))


def _embedders(contract: Contract) -> Iterator[Embedder]:
    for name, origins, takes in _ensembles(contract, "tokenize_text"):
        truncated = next((tensor for tensor, origin in origins.items() if origin.tensor == "truncated"), "")
        for tensor, (model, inner) in origins.items():
            if model.network and model.kind == "onnx" and contract.networks[model.network].task == "text-embedding":
                (dims,) = (output.dims for output in model.outputs if output.name == inner)
                yield Embedder(name, takes, tensor, truncated, dims[0])
                break


def _ensembles(contract: Contract, front: str) -> Iterator[tuple[str, dict[str, _Origin], str]]:
    """Each ensemble with one input that goes to a step of kind `front`: name, its outputs' origins, the input."""
    models = {model.name: model for model in contract.served_models}
    for name, ensemble in contract.pipelines:
        steps = [(step, models[step.model]) for step in ensemble.steps]
        if len(ensemble.inputs) != 1 or not any(model.kind == front for _, model in steps):
            continue
        made = {
            step.outputs.get(output.name, output.name): _Origin(model, output.name)
            for step, model in steps
            for output in model.outputs
        }
        yield name, {tensor: made[tensor] for tensor in ensemble.outputs}, ensemble.inputs[0]
