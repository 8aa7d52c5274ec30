"""Documents as tests compare them."""

from typing import Any


def flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names of all fields, and their values."""
    fields: dict[str, Any] = {}
    for key, value in document.items():
        fields |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return fields
