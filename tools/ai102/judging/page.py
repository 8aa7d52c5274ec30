"""A judgement as one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from ai102.judging.checks import CHECKS

STATE_WORDS = {
    "stop": "evidence of harm",
    "open": "not decided",
    "pass": "harm excluded",
    "quiet": "no evidence of harm",
    "note": "not looked at",
}


def html_of(facts: Mapping[str, Any]) -> str:
    """`facts` as Judgement.as_dict gives them; a part that was not measured is left out."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "points": points,
        "log_place": _log_place,
        "band": band,
        "ms": _milliseconds,
        "plain": _plain,
    }
    by_check: dict[str, list[Mapping[str, Any]]] = {check: [] for check in CHECKS}
    for finding in facts["findings"]:
        by_check.setdefault(finding["check"], []).append(finding)
    shown = sorted(facts["findings"], key=lambda finding: list(STATE_WORDS).index(finding["state"]))
    page = environment.get_template("page.html.j2")
    return page.render(facts=facts, by_check=by_check, words=STATE_WORDS, shown=shown, cards=_cards(facts, by_check))


def points(values: Sequence[float], width: float, height: float, low: float, high: float) -> str:
    """The points of an SVG polyline, from left to right over `width`, the lowest value at the bottom of `height`."""
    span = (high - low) or 1.0
    step = width / max(len(values) - 1, 1)
    return " ".join(
        f"{place * step:.1f},{height * (1 - (value - low) / span):.1f}" for place, value in enumerate(values)
    )


def band(limits: Sequence[int], width: float, height: float, low: float, high: float) -> str:
    """The area at and below limits, as an SVG polygon on the axes of `points`; empty where no limit is 0 or more."""
    first = next((place for place, limit in enumerate(limits) if limit >= 0), None)
    if first is None:
        return ""
    known = limits[first:]
    begin = width * first / max(len(limits) - 1, 1)
    step, unit = (width - begin) / max(len(known) - 1, 1), height / (high - low)
    top = [f"{begin + step * place:.1f},{unit * (high - limit - 0.5):.1f}" for place, limit in enumerate(known)]
    return " ".join([*top, f"{width:g},{height:g}", f"{begin:.1f},{height:g}"])


def _log_place(value: float, low: float, high: float) -> float:
    """Where a value lies on a logarithmic axis, 0 to 1."""
    return math.log(max(value, low) / low) / math.log(high / low)


def _milliseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(one)}" for key, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        shown = ", ".join(_plain(one) for one in value[:12])
        return f"{shown}, ... ({len(value)})" if len(value) > 12 else shown or "none"
    return str(value)


def _cards(facts: Mapping[str, Any], by_check: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, str]]:
    cards = [
        {
            "title": "calls to the canary",
            "value": f"{facts['calls_to_the_canary']:,}",
            "note": f"in {facts['seconds']:g} s, {facts['requests_at_once']} at once",
        }
    ]
    for finding in by_check.get("answers", ()):
        numbers = finding["facts"]
        if not numbers:
            continue
        note = f"of {numbers['samples']} samples, against {numbers['against']}"
        cards.append(
            {"title": f"{finding['subject']}: lost, won", "value": f"{numbers['lost']}, {numbers['won']}", "note": note}
        )
        if "top-1 percent, canary" in numbers:
            service = numbers.get("top-1 percent, version in service")
            cards.append(
                {
                    "title": f"{finding['subject']}: top-1",
                    "value": f"{numbers['top-1 percent, canary']:.2f} %",
                    "note": f"in service {service:.2f} %" if service is not None else "no version in service",
                }
            )
    for finding in by_check.get("distance", ()):
        numbers = finding["facts"]
        cards.append(
            {
                "title": f"{finding['subject']}: mean cosine",
                "value": f"{numbers['mean cosine']:.4f}",
                "note": f"to the version in service; least {numbers['least cosine']:.4f}",
            }
        )
    return cards
