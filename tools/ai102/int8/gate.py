"""The gate between an INT8 file and model_repository: accuracy against the budget, speed against FP32."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

from ai102.contract import Network
from ai102.int8 import judge, stopwatch
from ai102.int8.judge import Verdict
from ai102.int8.stopwatch import Speed
from ai102.samples.read import Samples, batches_of_items, tensors_of_items


def accuracy(
    network: Network,
    samples: Samples,
    fp32: Path,
    int8: Path,
    tokenizer_file: Path | None,
    *,
    as_written: bool = False,
) -> Verdict:
    """INT8 against FP32 and the labels, on all of `samples`; INT8 `as_written` where it is for another target."""
    run = judge.session_run(int8, network, as_written=as_written)
    return accuracy_of_run(network, samples, fp32, run, tokenizer_file)


def accuracy_of_run(
    network: Network, samples: Samples, fp32: Path, run: judge.Run, tokenizer_file: Path | None
) -> Verdict:
    """As `accuracy`, of a file that is open in any engine."""
    runs = (judge.session_run(fp32, network), run)
    reference, candidate = (judge.outputs(one, network, samples.items, tokenizer_file) for one in runs)
    return judge.compare(network, samples, reference, candidate)


def speed(
    network: Network, samples: Samples, fp32: Path, int8: Path, tokenizer_file: Path | None, batch: int | None = None
) -> tuple[Speed, str]:
    """Side by side at the largest batch the contract allows, and why FP32 wins, empty where it does not.

    Texts are those of the most usual length, since texts of one length are what Triton puts into a batch.
    """
    batch = batch or network.batching.max_batch_size
    alike: dict[tuple[int, ...], list[int]] = {}
    for positions, tensors in batches_of_items(network, samples.items, tokenizer_file):
        alike.setdefault(tensors[network.inputs[0].name].shape[1:], []).extend(positions)
    usual = [samples.items[position] for position in max(alike.values(), key=len)]
    tensors = tensors_of_items(network, list(islice(cycle(usual), batch)), tokenizer_file)
    runs = [judge.session_run(file, network, threads=1) for file in (fp32, int8)]
    return stopwatch.verdict(lambda: stopwatch.compare(lambda: runs[0](tensors), lambda: runs[1](tensors), batch))
