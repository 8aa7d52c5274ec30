"""The part of MR4xx about the sequence batcher: its control tensors and its states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.data_types import BYTES, type_name
from ai102.lint.dims import FREE, may_be_equal, shown
from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model, Repository
from ai102.lint.paths import is_file

CODES: tuple[Code, ...] = (
    Code(
        "MR411",
        "error",
        "control tensor without a name of its own",
        "Each control_input has a name, and no other has the same: Triton refuses the model otherwise. One "
        "control_input may carry several controls.",
    ),
    Code(
        "MR412",
        "error",
        "control of one kind twice",
        "Start, end, ready and correlation id each come in one tensor; Triton refuses a second one of a kind.",
    ),
    Code(
        "MR413",
        "error",
        "control without its two values",
        "Start, end and ready have two values, the first for false and the second for true, in exactly one of "
        "int32_false_true, fp32_false_true and bool_false_true.",
    ),
    Code(
        "MR414",
        "error",
        "correlation id of a wrong type",
        "CONTROL_SEQUENCE_CORRID hands over the id itself: it has a data_type (TYPE_UINT64, TYPE_INT64, TYPE_UINT32, "
        "TYPE_INT32 or TYPE_STRING) and no false and true values.",
    ),
    Code(
        "MR415",
        "error",
        "slot utilization that is no share",
        "minimum_slot_utilization is the share of sequence slots that must be filled before a batch runs, 0 to 1.",
    ),
    Code(
        "MR416",
        "error",
        "initial state that does not fit its state",
        "A state has at most one initial_state, with a name, the state's data type, as many dims as the state, none "
        "of them -1, and either zero_data or data_file. Triton refuses the model otherwise.",
    ),
    Code(
        "MR417",
        "error",
        "file of an initial state missing or short",
        "data_file is a file in the folder initial_state of the model, with at least the bytes of the state. Triton "
        "reads it at load and refuses the model when it is not there or ends early.",
    ),
    Code(
        "MR418",
        "warning",
        "state that another one hides",
        "Two states with the same input_name or output_name: Triton logs a warning at each sequence, keeps one and "
        "drops the other, so that its values are lost.",
    ),
)

ID_TYPES = (pb.TYPE_UINT64, pb.TYPE_INT64, pb.TYPE_UINT32, pb.TYPE_INT32, pb.TYPE_STRING)
CONTROL = pb.ModelSequenceBatching.Control


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    assert model.config is not None
    batcher = model.config.sequence_batching
    yield from _controls(model, batcher)
    share = batcher.direct.minimum_slot_utilization
    if not 0 <= share <= 1 and share == share:  # Triton lets NaN pass
        where = "sequence_batching.direct.minimum_slot_utilization"
        yield model.finding("MR415", where, f"minimum_slot_utilization is {share:g}", "write a number from 0 to 1")
    started: set[str] = set()
    for place, state in enumerate(batcher.state):
        where = f"sequence_batching.state[{place}]"
        if len(state.initial_state) > 1:
            message = f"the state {state.input_name!r} has {len(state.initial_state)} initial states"
            yield model.finding("MR416", where, message, "write one initial_state")
        elif state.initial_state:
            yield from _initial(model, f"{where}.initial_state[0]", state, state.initial_state[0], repository)
            if state.input_name in started:
                message = f"the state {state.input_name!r} is there twice, each time with an initial state"
                yield model.finding("MR416", where, message, "keep one of them")
            started.add(state.input_name)
    for field in ("input_name", "output_name"):
        names = [getattr(state, field) for state in batcher.state]
        for name, times in Counter(names).items():
            if times > 1:
                last = len(names) - 1 - names[::-1].index(name)
                message = f"{times} states have the {field} {name!r}"
                yield model.finding("MR418", f"sequence_batching.state[{last}].{field}", message, "give each its own")


def _controls(model: Model, batcher: pb.ModelSequenceBatching) -> Iterator[Finding]:
    names: set[str] = set()
    kinds: set[int] = set()
    for place, tensor in enumerate(batcher.control_input):
        where = f"sequence_batching.control_input[{place}]"
        if not tensor.name or tensor.name in names:
            said = f"two control inputs have the name {tensor.name!r}" if tensor.name else "a control input has no name"
            yield model.finding("MR411", where, said, "give each its own name; put all controls of a tensor into one")
        names.add(tensor.name)
        for number, control in enumerate(tensor.control):
            here = f"{where}.control[{number}]"
            kind = CONTROL.Kind.DESCRIPTOR.values_by_number.get(control.kind)
            if kind is None:
                continue
            if control.kind in kinds:
                yield model.finding("MR412", here, f"there is a second control of {kind.name}", "keep one of them")
            kinds.add(control.kind)
            if control.kind == CONTROL.CONTROL_SEQUENCE_CORRID:
                yield from _id(model, here, control)
            else:
                yield from _flag(model, here, kind.name, control)


def _flag(model: Model, where: str, kind: str, control: Any) -> Iterator[Finding]:
    lists = [values for values in _values(control) if values]
    if len(lists) != 1 or len(lists[0]) != 2:
        said = ", ".join(str(len(values)) for values in lists) or "no"
        message = f"{kind} has {said} values"
        yield model.finding(
            "MR413", where, message, "write one of them with two values, such as fp32_false_true: [ 0, 1 ]"
        )


def _id(model: Model, where: str, control: Any) -> Iterator[Finding]:
    if any(_values(control)):
        message = "the correlation id has values for false and true"
        yield model.finding("MR414", where, message, "leave them out and write data_type: TYPE_UINT64")
    if control.data_type not in ID_TYPES:
        message = f"the correlation id has the data type {type_name(control.data_type)}"
        advice = f"write one of {', '.join(map(type_name, ID_TYPES))}"
        yield model.finding("MR414", f"{where}.data_type", message, advice)


def _values(control: Any) -> tuple[Any, Any, Any]:
    return control.int32_false_true, control.fp32_false_true, control.bool_false_true


def _initial(model: Model, where: str, state: Any, initial: Any, repository: Repository) -> Iterator[Finding]:
    said = f"the initial state of {state.input_name!r}"
    if initial.data_type != state.data_type:
        message = f"{said} is {type_name(initial.data_type)} and the state {type_name(state.data_type)}"
        advice = f"write data_type: {type_name(state.data_type)}"
        yield model.finding("MR416", f"{where}.data_type", message, advice)
    if not initial.name:
        yield model.finding("MR416", where, f"{said} has no name", "write a name")
    dims = list(initial.dims)
    if FREE in dims or not may_be_equal(dims, state.dims):
        message = f"{said} has dims {shown(dims)} and the state {shown(state.dims)}"
        yield model.finding("MR416", f"{where}.dims", message, "write the state's dims with a size for each -1")
        return
    source = initial.WhichOneof("state_data")
    if source is None:
        yield model.finding("MR416", where, f"{said} has no values", "write zero_data: true or data_file")
    elif source == "data_file" and repository.check_files:
        file = model.inside("initial_state", initial.data_file)
        size = prod(dims) * BYTES.get(initial.data_type, 0)
        if not is_file(file) or file.stat().st_size < size:
            has = f"has {file.stat().st_size} bytes, {size} are needed" if is_file(file) else "is missing"
            yield model.finding("MR417", f"{where}.data_file", f"{said} is {initial.data_file}, which {has}", "make it")
