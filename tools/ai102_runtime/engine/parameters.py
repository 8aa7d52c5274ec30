"""The free `parameters` of a model's config."""

from collections.abc import Mapping
from typing import Any

from ai102_runtime.engine.signature import ModelRefusedError


def parameters_from_config(config: Mapping[str, Any]) -> dict[str, str]:
    """As a plain dictionary."""
    return {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}


def truth(parameters: Mapping[str, str], key: str, *, default: bool) -> bool:
    """A parameter that says true or false, in the spellings Triton takes."""
    text = parameters.get(key, str(default)).strip().lower()
    if text in ("true", "1"):
        return True
    if text in ("false", "0"):
        return False
    raise ModelRefusedError(f"parameter {key} is {parameters[key]!r}: write true or false")
