"""Kubernetes' quantities (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/)."""

from __future__ import annotations

import re

UNITS = {
    "": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3,
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
FORM = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)")


def number_of(quantity: str) -> float:
    """`250m` is 0.25. Raises ValueError for what is no quantity."""
    match = FORM.fullmatch(quantity)
    if match is None or match[2] not in UNITS:
        raise ValueError(f"{quantity!r} is no quantity")
    return float(match[1]) * UNITS[match[2]]


def words_of(resource: str, amount: float) -> str:
    """For people: `0.25 CPU`, `2.25 GiB of memory`, `1 nvidia.com/gpu`."""
    if resource == "cpu":
        return f"{amount:.3g} CPU"
    if resource in ("memory", "ephemeral-storage"):
        return f"{amount / 2**30:.3g} GiB of {'memory' if resource == 'memory' else 'disk'}"
    return f"{amount:g} {resource}"
