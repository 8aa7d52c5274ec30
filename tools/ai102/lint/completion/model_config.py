"""`pb_utils.ModelConfig` of tritonserver 2.51, as `auto_complete_config` gets it: its methods and what they refuse."""

from __future__ import annotations

import json
from typing import Any

from ai102.lint.completion.values import UNKNOWN, RefusedError, UndecidedError, Unknown, has_unknown

INPUT_KEYS = ("name", "data_type", "dims", "optional")
OUTPUT_KEYS = ("name", "data_type", "dims")
SCHEDULERS = ("sequence_batching", "ensemble_scheduling")


class ModelConfig:
    """`lines` holds the line of the call that set each field, by its path, such as `input[1].dims`.

    `line` is the line that runs. A method raises RefusedError where the server's own raises.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.lines: dict[str, int] = {}
        self.line = 1

    def call(self, name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
        try:
            return METHODS[name](self, *arguments, **named)
        except (TypeError, KeyError, AttributeError, ValueError) as err:
            if has_unknown([arguments, named]):
                raise UndecidedError from err
            raise RefusedError(f"{name} raises {type(err).__name__}: {err}", f"correct the call of {name}") from err

    def as_dict(self) -> dict[str, Any]:
        return self.config

    def set_max_batch_size(self, max_batch_size: Any) -> None:
        written = self.config["max_batch_size"]
        if not isinstance(max_batch_size, Unknown) and not isinstance(written, Unknown) and written > max_batch_size:
            message = f"max_batch_size is {written} in the config and set_max_batch_size({max_batch_size}) lowers it"
            raise RefusedError(message, "write at least the number of the config, or take it out of the config")
        if written != max_batch_size:
            self.lines["max_batch_size"] = self.line
        self.config["max_batch_size"] = max_batch_size

    def set_dynamic_batching(self) -> None:
        scheduler = next((name for name in SCHEDULERS if name in self.config), None)
        if scheduler is not None:
            message = f"set_dynamic_batching() where the config has {scheduler}"
            raise RefusedError(message, f"take out one of them: a model has one scheduler, and {scheduler} is written")
        if "dynamic_batching" not in self.config:
            self.config["dynamic_batching"] = {}
            self.lines["dynamic_batching"] = self.line

    def add_input(self, input: Any) -> None:
        self._add("input", input, INPUT_KEYS)

    def add_output(self, output: Any) -> None:
        self._add("output", output, OUTPUT_KEYS)

    def set_model_transaction_policy(self, transaction_policy_dict: Any) -> None:
        if isinstance(transaction_policy_dict, Unknown):
            raise UndecidedError
        for key in transaction_policy_dict.keys():  # noqa: SIM118 - what has no keys() is refused
            if isinstance(key, Unknown):
                raise UndecidedError
            if key != "decoupled":
                message = f"set_model_transaction_policy has the key {key!r}"
                raise RefusedError(message, "write {'decoupled': True} or {'decoupled': False}")
        policy = self.config.setdefault("model_transaction_policy", {})
        if "decoupled" not in transaction_policy_dict:
            return
        decoupled, written = transaction_policy_dict["decoupled"], policy.get("decoupled", UNKNOWN)
        if "decoupled" in policy and _differ(written, decoupled):
            message = f"model_transaction_policy.decoupled is {written} in the config and {decoupled} in the code"
            raise RefusedError(message, "make them equal, or take it out of the config")
        policy["decoupled"] = decoupled
        self.lines["model_transaction_policy"] = self.line

    def _add(self, kind: str, tensor: Any, keys: tuple[str, ...]) -> None:
        if isinstance(tensor, Unknown):
            raise UndecidedError
        shown = repr(tensor["name"]) if isinstance(tensor, dict) and "name" in tensor else "a tensor without a name"
        for key in tensor:
            if isinstance(key, Unknown):
                raise UndecidedError
            if key not in keys:
                message = f"add_{kind}: {shown} has the key {key!r}"
                raise RefusedError(message, f"write {', '.join(keys)} only; the rest belongs into config.pbtxt")
        for key in ("name", "data_type", "dims"):
            if key not in tensor:
                raise RefusedError(f"add_{kind}: {shown} has no {key!r}", f"write its {key}")
        name = tensor["name"]
        for place, written in enumerate(self.config[kind]):
            if isinstance(name, Unknown) or isinstance(written, Unknown) or isinstance(written["name"], Unknown):
                raise UndecidedError
            if name == written["name"]:
                self._complete(f"{kind}[{place}]", written, tensor)
                return
        self.lines[f"{kind}[{len(self.config[kind])}]"] = self.line
        self.config[kind].append(tensor)

    def _complete(self, where: str, written: dict[str, Any], tensor: dict[str, Any]) -> None:
        """Fill in a tensor that the config, or an earlier call, has."""
        is_typed = written["data_type"] != "TYPE_INVALID"
        if is_typed and _differ(written["data_type"], tensor["data_type"]):
            self._refuse_change(where, "data_type", written, tensor)
        if written["dims"] and _differ(written["dims"], tensor["dims"]):
            self._refuse_change(where, "dims", written, tensor)
        is_optional_in_both = "optional" in written and "optional" in tensor
        if is_optional_in_both and _differ(written["optional"], tensor["optional"]):
            self._refuse_change(where, "optional", written, tensor)
        for key, is_written in (("data_type", is_typed), ("dims", bool(written["dims"]))):
            if not is_written:
                self.lines[f"{where}.{key}"] = self.line
        written |= {key: tensor[key] for key in ("data_type", "dims", "optional") if key in tensor}

    def _refuse_change(self, where: str, key: str, written: dict[str, Any], tensor: dict[str, Any]) -> None:
        kind = where.partition("[")[0]
        message = f"add_{kind}: {tensor['name']!r} has {key} {tensor[key]!r}, where {written[key]!r} is set already"
        raise RefusedError(message, f"make them equal, or take {key} out of config.pbtxt")


# What a caller may use; `_model_config` is read by some.
METHODS = {
    name: getattr(ModelConfig, name)
    for name in (
        "as_dict",
        "set_max_batch_size",
        "set_dynamic_batching",
        "add_input",
        "add_output",
        "set_model_transaction_policy",
    )
}


def _differ(written: Any, other: Any) -> bool:
    """Whether they surely do."""
    return not has_unknown([written, other]) and bool(written != other)


def check_json(config: dict[str, Any]) -> None:
    """Raise RefusedError where the server cannot write the config as JSON."""

    def unknown_as_text(value: Any) -> str:
        if isinstance(value, Unknown):
            return ""
        if isinstance(value, set | frozenset | bytes | complex | range):
            raise TypeError(f"{type(value).__name__} {value!r}")
        raise UndecidedError

    try:
        json.dumps(config, default=unknown_as_text)
    except TypeError as err:
        message = f"the config holds what JSON has no form for: {err}"
        raise RefusedError(message, "write lists, texts and numbers") from err
    except ValueError as err:  # it holds itself
        raise UndecidedError from err
