from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai102.build.report.page import html_from_facts
from ai102.build.report.tensors import BINS, worst_spreads
from tests.tiny_nets import states, transformer_block


def facts(**changes: Any) -> dict[str, Any]:
    spread = {
        "tensor": "t", "layers": ["up", "gate"], "low": -1.0, "high": 9.0, "rms": 0.5,
        "counts": [0, 1, 1000, 3], "outlier_ratio": 18.0,
    }  # fmt: skip
    return {
        "network": "pets",
        "task": "image-classification",
        "source": "hf:<b>someone</b>/pets",
        "date": "2026-01-02",
        "machine": {"cpu": "a CPU", "cores": 2, "system": "Linux"},
        "serves_int8": True,
        "verdict": "top-1 FP32 99 %, INT8 98 %",
        "cards": [{"title": "size", "value": "1 MB", "note": "FP32 4 MB"}],
        "engines": {
            "caption": "OpenVINO INT8 serves it",
            "columns": ["ONNX Runtime INT8", "OpenVINO INT8", "OpenVINO FP32"],
            "rows": [{"shape": "batch 8", "ms": [2.0, 1.0, None]}],
            "ratios": [1.0, 2.0, None],
            "checks": [{"engine": "OpenVINO FP32", "accuracy": "differs by 1", "passed": False}],
        },
        "sensitivity": {"caption": "Loss", "bars": [{"name": "up", "alone": 0.25, "spared": 0.1}]},
        "spreads": [spread],
        "layers": [{"name": "up", "operator": "MatMul", "on": {"ONNX Runtime": "INT8", "TensorRT": "float"}}],
        "targets": ["ONNX Runtime", "TensorRT"],
        "layer_summary": "ONNX Runtime: 1 of 1; TensorRT: 0 of 1",
        "provenance": {"ranges": "minmax"},
    } | changes


class Links(HTMLParser):
    """Collects whatever a browser would fetch, and checks that tags close in order."""

    VOID = frozenset({"meta", "br", "rect", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(value) for key, value in attrs if key in ("src", "href", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "INT8 is served"),
        ({}, "<td>2.00x</td><td>-</td>"),
        ({}, "OpenVINO FP32 does not pass: differs by 1"),
        ({"engines": None}, "INT8 is served"),
        ({"serves_int8": False}, "FP32 is served"),
        ({"sensitivity": None}, "Not measured: run <code>ai102 quantize pets --search</code>"),
        ({"sensitivity": {"caption": "", "bars": [{"name": "up", "alone": 0.0, "spared": -0.1}]}}, "INT8 is served"),
    ],
)
def test_a_page_is_whole_and_fetches_nothing(changes: dict[str, Any], words: str) -> None:
    page = html_from_facts(facts(**changes))
    links = Links()
    links.feed(page)
    assert (links.open, links.fetched) == ([], [])
    assert words in page
    assert "<b>someone</b>" not in page


def test_a_fact_that_is_missing_is_a_defect() -> None:
    incomplete = facts()
    del incomplete["verdict"]
    with pytest.raises(Exception, match="'verdict' is undefined"):
        html_from_facts(incomplete)


def test_the_spreads_come_worst_first_and_count_every_value(tmp_path: Path) -> None:
    file = transformer_block(tmp_path / "block.onnx")
    batches = list(states(160))
    spreads = worst_spreads(file, lambda: batches, 2)
    ratios = [spread.outlier_ratio for spread in spreads]
    assert ratios == sorted(ratios, reverse=True)
    assert all(len(spread.counts) == BINS for spread in spreads)
    assert len({sum(spread.counts) for spread in spreads}) >= 1
    assert all(np.isfinite(spread.rms) and spread.layers for spread in spreads)
