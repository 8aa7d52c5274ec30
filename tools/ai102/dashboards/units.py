"""Grafana's units, as words beside a number."""

from __future__ import annotations


def worded(value: float, unit: str) -> str:
    """The value with its unit, three digits of it: `12.3 ms`, `99.95 %`."""
    if unit == "percentunit":
        return f"{value * 100:.4g} %"
    if unit == "s":
        if abs(value) < 1e-3:
            return f"{value * 1e6:.3g} us"
        return f"{value * 1e3:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    if unit == "Bps":
        return _scaled(value, ("B/s", "kB/s", "MB/s", "GB/s"))
    if unit == "bytes":
        return _scaled(value, ("B", "kB", "MB", "GB"))
    word = {"reqps": "/s", "d": "days"}.get(unit, "")
    return f"{_plain(value)} {word}".rstrip()


def _scaled(value: float, words: tuple[str, ...]) -> str:
    for word in words:
        if abs(value) < 1000 or word == words[-1]:
            break
        value /= 1000
    return f"{value:.3g} {word}"


def _plain(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.6f}" if 0 < abs(value) < 0.001 else f"{value:.3g}"
