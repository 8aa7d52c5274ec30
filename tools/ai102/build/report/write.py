"""Write calibration/reports/NET.html and NET.json, unless what they tell did not change."""

from __future__ import annotations

import json
from pathlib import Path

from ai102 import artifact
from ai102.build import plans, verbs
from ai102.build.report.facts import gather
from ai102.build.report.page import html_from_facts
from ai102.build.workspace import Workspace
from ai102.progress import Reporter


def write(workspace: Workspace, name: str, report: Reporter) -> Path:
    """The report on a network, which walks the road up to it first; returns the HTML file.

    Raises UserError, and BudgetError, where a step of the road does.
    """
    int8 = verbs.quantize(workspace, name, report)
    sensitivity = verbs.sensitivity(workspace, name, report)
    tensorrt = plans.quantize(workspace, name, report)
    folder = workspace.root / "calibration" / "reports"
    page = folder / f"{name}.html"
    made_from = {
        "int8": artifact.sha256_of_file(int8),
        "sensitivity": artifact.sha256_of_file(sensitivity),
        "tensorrt": artifact.sha256_of_file(tensorrt),
        "writer": artifact.sha256_of_text(
            "".join(file.read_text() for file in sorted(Path(__file__).parent.glob("*.*")))
        ),
    }

    def write_page(temporary: Path) -> None:
        with report.step(f"{name}: report"):
            facts = gather(workspace, name)
            artifact.write_text(folder / f"{name}.json", json.dumps(facts, indent=1) + "\n")
            temporary.write_text(html_from_facts(facts), encoding="utf-8")

    if artifact.make(page, made_from, write_page):
        report.say(f"{name}: {page.relative_to(workspace.root)}")
    return page
