"""Write calibration/reports/NET.html and NET.json, unless what they say did not change."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ai102 import artifact
from ai102.build.lock import building
from ai102.build.order import Order
from ai102.build.report.facts import Files, gather
from ai102.build.report.page import html_from_facts
from ai102.build.workspace import Workspace
from ai102.code_hash import inputs_of_code
from ai102.int8 import recipes
from ai102.progress import Reporter

TEMPLATE = Path(__file__).parent / "page.html.j2"


def write(workspace: Workspace, name: str, report: Reporter) -> Path:
    """The report on a network, after the steps that it is about; returns the HTML file.

    Raises UserError, and BudgetError, where a step does.
    """
    with building(workspace.root, report.say):
        order = Order(workspace, name, report)
        recipe = order.recipe().recipe
        files = Files(
            order.fp32,
            order.ranges(recipe),
            order.int8(),
            order.tensorrt(),
            recipes.sensitivity(order.bench(), recipe, report),
            order.chosen_engine("int8"),
        )
        folder = workspace.root / "calibration" / "reports"
        page = folder / f"{name}.html"
        made_from = {
            **{step: artifact.sha256_of_manifest(file) if file else "" for step, file in asdict(files).items()},
            "template": artifact.sha256_of_file(TEMPLATE),
            **inputs_of_code("ai102.build.report.facts", "ai102.build.report.page"),
        }

        def write_page(temporary: Path) -> None:
            with report.step(f"{name}: report"):
                subject, (calibration, _) = order.subject, order.splits
                facts = gather(name, subject.network, files, calibration.items, subject.tokenizer_file)
                artifact.write_text(folder / f"{name}.json", json.dumps(facts, indent=1) + "\n")
                temporary.write_text(html_from_facts(facts), encoding="utf-8")

        if artifact.make(page, made_from, write_page):
            report.say(f"{name}: {page.relative_to(workspace.root)}")
    return page
