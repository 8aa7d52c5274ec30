"""Which of the contract's ensembles the API uses, and their inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from ai102.contract.contract import Contract
from ai102.contract.pipelines import Pipeline, pipelines_of
from ai102.errors import UserError


class Scores(NamedTuple):
    """An ensemble whose one output is the score of each label, in the order of `labels`."""

    model: str
    input: str
    output: str
    labels: tuple[str, ...]


class Classifier(NamedTuple):
    """An ensemble that takes an encoded image and returns the best label and its score, or the scores of all labels.

    `scores` may be another ensemble over the same network; it serves requests for more than the best label.
    """

    model: str
    input: str
    label: str
    score: str
    labels: tuple[str, ...]
    scores: Scores | None

    @property
    def max_top(self) -> int:
        """The largest number of labels in an answer."""
        return len(self.scores.labels) if self.scores else 1


class Embedder(NamedTuple):
    """An ensemble that takes a text; `truncated` is empty if no output says whether the text was truncated."""

    model: str
    input: str
    embedding: str
    truncated: str
    width: int  # of an embedding; -1 where it varies


_Kind = TypeVar("_Kind", Classifier, Embedder)


class Asked(NamedTuple):
    """The ensembles behind the API; one of them may be missing."""

    classifier: Classifier | None
    embedder: Embedder | None


def asked_from_contract(contract: Contract, classify: str = "", embed: str = "") -> Asked:
    """The first ensemble of each kind, or those named. Raises UserError when a named one is not of its kind."""
    pipelines = tuple(pipelines_of(contract).values())
    classifiers, embedders = tuple(_classifiers(pipelines, contract)), tuple(_embedders(pipelines, contract))
    ensembles = Asked(
        _chosen("--classify", classify, classifiers, "takes an encoded image and gives label and score, or scores"),
        _chosen("--embed", embed, embedders, "takes a text and gives an embedding"),
    )
    if ensembles == (None, None):
        raise UserError("models.toml: no ensemble takes an image and gives labels, or a text and gives an embedding")
    return ensembles


def _chosen(option: str, name: str, known: tuple[_Kind, ...], what: str) -> _Kind | None:
    if not name:
        return known[0] if known else None
    for one in known:
        if one.model == name:
            return one
    names = ", ".join(one.model for one in known) or "none"
    raise UserError(f'{option} is "{name}", no ensemble that {what}; of that kind: {names}')


def _classifiers(pipelines: Sequence[Pipeline], contract: Contract) -> Iterator[Classifier]:
    chosen: list[tuple[str, Classifier]] = []  # with the network's model inside it
    all_scores: dict[str, Scores] = {}
    for pipeline in pipelines:
        inner = pipeline.inner
        if pipeline.takes != "image" or inner is None or inner.network is None:
            continue
        by_origin = {(origin.model.kind, origin.tensor): tensor for tensor, origin in pipeline.outputs.items()}
        label, score = by_origin.get(("label_scores", "label")), by_origin.get(("label_scores", "score"))
        labels = contract.networks[inner.network].labels
        tensors = [tensor for tensor, origin in pipeline.outputs.items() if origin.model == inner]
        scores = Scores(pipeline.name, pipeline.input, tensors[0], labels) if labels and tensors else None
        if scores:
            all_scores.setdefault(inner.name, scores)
        if label and score:
            chosen.append((inner.name, Classifier(pipeline.name, pipeline.input, label, score, labels, None)))
        elif scores:
            chosen.append((inner.name, Classifier(pipeline.name, pipeline.input, "", "", labels, scores)))
    for inner_name, classifier in chosen:
        yield classifier._replace(scores=classifier.scores or all_scores.get(inner_name))


def _embedders(pipelines: Sequence[Pipeline], contract: Contract) -> Iterator[Embedder]:
    for pipeline in pipelines:
        truncated = next((tensor for tensor, origin in pipeline.outputs.items() if origin.tensor == "truncated"), "")
        for tensor, (model, inner) in pipeline.outputs.items():
            network = contract.networks[model.network] if model.network and model.kind == "onnx" else None
            if pipeline.takes == "text" and network and network.task == "text-embedding":
                (dims,) = (output.dims for output in model.outputs if output.name == inner)
                yield Embedder(pipeline.name, pipeline.input, tensor, truncated, dims[0])
                break
