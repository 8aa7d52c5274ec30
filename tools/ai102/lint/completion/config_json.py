"""A model's config as the server hands it to `auto_complete_config`, and back."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.completion.values import UNKNOWN, RefusedError, UndecidedError, Unknown, has_unknown

# Written out even where nothing is set, in this order (seen on 2.51).
ALWAYS = (
    "name",
    "platform",
    "backend",
    "runtime",
    "version_policy",
    "max_batch_size",
    "input",
    "output",
    "batch_input",
    "batch_output",
    "optimization",
    "instance_group",
    "default_model_filename",
    "cc_model_filenames",
    "metric_tags",
    "parameters",
    "model_warmup",
)
# The server fills these in before; what it writes depends on the machine.
FILLED_IN = ("runtime", "version_policy", "optimization", "instance_group", "default_model_filename")
SCHEDULERS = ("dynamic_batching", "sequence_batching", "ensemble_scheduling")
ENUM, MESSAGE = 8, 10  # of google.protobuf.descriptor.FieldDescriptor.cpp_type
INT32, INT64 = 2**31, 2**63


class DroppedError(Exception):
    """The server cannot read what the code wrote, says nothing and goes on with the config as it was."""


def dict_from_config(config: pb.ModelConfig, name: str) -> dict[str, Any]:
    whole = dict_from_message(config) | {"name": name, "backend": config.backend or "python"}
    chosen = [field for field in (*ALWAYS, *whole) if field in whole or field in FILLED_IN]
    unknown = (*FILLED_IN, *SCHEDULERS)
    return {field: UNKNOWN if field in unknown else whole[field] for field in dict.fromkeys(chosen)}


def dict_from_message(message: Any) -> dict[str, Any]:
    """As the server's JSON: every field that cannot be absent, enums by name."""
    fields: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            is_message = field.message_type.fields_by_name["value"].cpp_type == MESSAGE
            fields[field.name] = {key: dict_from_message(value[key]) if is_message else value[key] for key in value}
        elif field.is_repeated:
            fields[field.name] = [_plain(field, item) for item in value]
        elif not field.has_presence or message.HasField(field.name):
            fields[field.name] = _plain(field, value)
    return fields


def _plain(field: Any, value: Any) -> Any:
    if field.cpp_type == MESSAGE:
        return dict_from_message(value)
    if field.cpp_type == ENUM:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named is not None else value
    return value


def config_from_dict(written: pb.ModelConfig, completed: dict[str, Any], name: str) -> pb.ModelConfig:
    """The config with what a completion may change: tensors, batch size, scheduler, transaction policy.

    Raises DroppedError or UndecidedError.
    """
    config = pb.ModelConfig()
    config.CopyFrom(written)
    config.name, config.backend = written.name or name, written.backend or "python"
    for kind in ("input", "output"):
        if kind in completed:
            tensors = [_tensor(kind, tensor) for tensor in _list(completed[kind])]
            config.ClearField(kind)
            getattr(config, kind).extend(tensors)
    if "max_batch_size" in completed:
        config.max_batch_size = _whole("max_batch_size", completed["max_batch_size"], INT32)
    _schedule(config, completed)
    _policy(config, completed.get("model_transaction_policy", {}))
    return config


def _list(tensors: Any) -> list[Any]:
    if not isinstance(tensors, list):
        raise UndecidedError
    return tensors


def _tensor(kind: str, tensor: Any) -> Any:
    if not isinstance(tensor, dict) or has_unknown(tensor):
        raise UndecidedError
    message = pb.ModelInput() if kind == "input" else pb.ModelOutput()
    rest = {key: value for key, value in tensor.items() if key not in ("name", "data_type", "dims")}
    if not isinstance(rest.get("optional") or False, bool):
        raise UndecidedError
    try:
        ParseDict(rest, message, ignore_unknown_fields=True)
    except ParseError as err:
        raise UndecidedError from err
    name, data_type, dims = (tensor.get(key) for key in ("name", "data_type", "dims"))
    if not isinstance(name, str | None):
        raise DroppedError(f"the name of an {kind} is {name!r}, which is no text")
    message.name = name or ""
    message.data_type = _data_type(name, data_type)
    if not isinstance(dims, list | tuple | None):
        raise UndecidedError
    if dims and not any(dim is not None for dim in dims):
        dims = ()  # the server's JSON leaves out what is null
    message.dims.extend(_whole(f"a dimension of {name!r}", dim, INT64) for dim in dims or ())
    return message


def _data_type(name: Any, data_type: Any) -> int:
    if data_type is None:
        return int(pb.TYPE_INVALID)
    if isinstance(data_type, str):
        if data_type not in pb.DataType.DESCRIPTOR.values_by_name:
            raise DroppedError(f"{name!r} has the data_type {data_type!r}, which does not exist")
        return int(pb.DataType.Value(data_type))
    if isinstance(data_type, int) and data_type in pb.DataType.DESCRIPTOR.values_by_number:
        return data_type
    raise UndecidedError


def _whole(what: str, value: Any, bound: int) -> int:
    """As the server's JSON reads a whole number: 8.0 is one, True and 8.5 are none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and not isinstance(value, bool):
        raise UndecidedError
    if isinstance(value, bool) or value != value or abs(value) == float("inf") or value != int(value):
        raise DroppedError(f"{what} is {value!r}, which is no whole number")
    if not -bound <= value < bound:
        raise DroppedError(f"{what} is {value!r}, which is out of range")
    return int(value)


def _schedule(config: pb.ModelConfig, completed: dict[str, Any]) -> None:
    for scheduler in SCHEDULERS:
        choice = completed.get(scheduler)
        if choice == {} and not config.HasField(scheduler):
            getattr(config, scheduler).SetInParent()
        elif (choice is UNKNOWN) != config.HasField(scheduler) or not isinstance(choice, Unknown | None):
            raise UndecidedError  # taken out, or written by hand


def _policy(config: pb.ModelConfig, policy: Any) -> None:
    decoupled = policy.get("decoupled", False) if isinstance(policy, dict) else None
    if isinstance(decoupled, int) and not isinstance(decoupled, bool):
        raise RefusedError(f"decoupled is {decoupled}, a number, which ends the server", "write True or False")
    if not isinstance(decoupled, bool):
        raise UndecidedError
    if policy:
        config.model_transaction_policy.decoupled = decoupled
