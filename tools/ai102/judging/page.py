"""A judgement as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

STATE_WORDS = {
    "stop": "evidence of harm",
    "pass": "harm excluded",
    "open": "not decided",
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
    environment.filters |= {"points": points, "ms": _milliseconds, "plain": _plain}
    by_check: dict[str, list[Mapping[str, Any]]] = {}
    for finding in facts["findings"]:
        by_check.setdefault(finding["check"], []).append(finding)
    page = environment.get_template("page.html.j2")
    return page.render(facts=facts, by_check=by_check, words=STATE_WORDS, cards=_cards(facts, by_check))


def points(values: Sequence[float], width: float, height: float, low: float, high: float) -> str:
    """The points of an SVG polyline, from left to right over `width`, the lowest value at the bottom of `height`."""
    span = (high - low) or 1.0
    step = width / max(len(values) - 1, 1)
    return " ".join(
        f"{place * step:.1f},{height * (1 - (value - low) / span):.1f}" for place, value in enumerate(values)
    )


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
