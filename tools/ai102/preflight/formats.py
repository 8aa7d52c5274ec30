"""The lines of a preflight as text that programs and logs can take, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from ai102.preflight.machine import Machine
from ai102.preflight.profiles import Profile
from ai102.preflight.run import Line, is_fit


def text_of(lines: Sequence[Line]) -> str:
    """One line a check: `unfit cores: 2, wanted at least 4: use a machine with 4 cores`."""
    return "\n".join(line_of(line) for line in lines)


def line_of(line: Line) -> str:
    advice = f": {line.advice}" if line.advice else ""
    return f"{line.verdict:<5} {line.name}: {line.found}, wanted {line.wanted}{advice}"


def summary(profile: Profile, lines: Sequence[Line]) -> str:
    """The verdict, and what it rests on."""
    unfit, noted = ([line.name for line in lines if line.verdict == verdict] for verdict in ("unfit", "note"))
    notes = f"; to note: {', '.join(noted)}" if noted else ""
    return f"unfit for {profile}: {', '.join(unfit)}{notes}" if unfit else f"fit for {profile}{notes}"


def json_of(profile: Profile, lines: Sequence[Line], machine: Machine) -> str:
    """The same, with what was found as numbers in `machine`."""
    whole = {
        "profile": profile,
        "is_fit": is_fit(tuple(lines)),
        "checks": [asdict(line) for line in lines],
        "machine": asdict(machine),
    }
    return json.dumps(whole, indent=1, ensure_ascii=False)
