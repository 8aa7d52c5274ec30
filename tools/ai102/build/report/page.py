"""The facts of a report as one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2


def html_from_facts(facts: Mapping[str, Any]) -> str:
    """`facts` as ai102.build.report.facts gathers them; a part that was not measured says so."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["log_height"] = _log_height
    return environment.get_template("page.html.j2").render(facts)


def _log_height(count: int, largest: int, height: float) -> float:
    """A count as a bar's height on a logarithmic scale; one sample is still to be seen."""
    return height * math.log1p(count) / math.log1p(largest) if count else 0.0
