"""The levels of a log, as every program calls them, in five words."""

from __future__ import annotations

LEVELS = {
    **dict.fromkeys(("d", "debug", "trace", "verbose"), "debug"),
    **dict.fromkeys(("i", "info", "information", "notice"), "info"),
    **dict.fromkeys(("w", "warn", "warning"), "warn"),
    **dict.fromkeys(("e", "err", "error"), "error"),
    **dict.fromkeys(("f", "fatal", "critical", "crit", "alert", "emerg", "panic"), "fatal"),
}


def level_of(word: str) -> str:
    """debug, info, warn, error or fatal; "" for a word that is none."""
    return LEVELS.get(word.lower(), "")
