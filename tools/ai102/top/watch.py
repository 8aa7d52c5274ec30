"""Reading again and again, until the terminal or a signal ends it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live

from ai102.prometheus.fetching import NoAnswerError
from ai102.top.screen import screen, unanswered
from ai102.top.sources import Source
from ai102.top.states import Judged, judged
from ai102.top.words import as_dict


def once(source: Source, interval_s: float) -> Judged:
    """The first reading that has rates. Raises NoAnswerError."""
    for _ in range(source.reads - 1):
        source.read()
        time.sleep(interval_s)
    return judged(source.read())


def live(source: Source, interval_s: float, console: Console, over: threading.Event) -> None:
    """Show each reading on the whole screen until `over` is set. Raises NoAnswerError where there is no first one."""
    last, at_s, message = judged(source.read()), time.monotonic(), ""
    with Live(console=console, screen=True, auto_refresh=False) as shown:
        while not over.is_set():
            above = [unanswered(message, time.monotonic() - at_s)] if message else []
            parts: list[RenderableType] = [*above, screen(last, console.width)]
            shown.update(Group(*parts), refresh=True)
            over.wait(interval_s)
            try:
                last, at_s, message = judged(source.read()), time.monotonic(), ""
            except NoAnswerError as err:
                message = str(err)


def lines(source: Source, interval_s: float, over: threading.Event) -> Iterator[str]:
    """One JSON object for each reading with rates until `over` is set; without an answer one with `error` alone."""
    yield line(once(source, interval_s))
    while not over.wait(interval_s):
        try:
            yield line(judged(source.read()))
        except NoAnswerError as err:
            yield json.dumps({"error": str(err)})


def line(judged: Judged) -> str:
    return json.dumps(as_dict(judged), ensure_ascii=False)
