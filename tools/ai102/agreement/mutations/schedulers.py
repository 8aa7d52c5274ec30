"""Mutations of how requests are queued: dynamic and sequence batching, priorities, and what goes with them."""

from __future__ import annotations

from collections.abc import Mapping

from ai102.agreement.mutations.configs import CORRID, READY, START
from ai102.agreement.mutations.edits import Kind, add, adds, both, kind, rewrite, swap, swaps

POLICY = "default_queue_policy { default_timeout_microseconds: 10 }"
STATE = "state [ { input_name: 'I' output_name: 'O' data_type: TYPE_FP32 dims: [ 1 ] } ]"


def control(name: str, what: str, values: str) -> str:
    return f'{{ name: "{name}" control [ {{ kind: CONTROL_SEQUENCE_{what} {values} }} ] }}'


KINDS: Mapping[str, Kind] = {
    "preferred_batch_size": kind(
        "batching oldest tensorrt_plan",
        *swaps("preferred_batch_size: [ 4, 8 ]", *(f"preferred_batch_size: {v}" for v in ("[ 9 ]", "[ 0 ]", "[ -1 ]"))),
        *swaps("[ 4, 8 ]", "[ 4, 9 ]", "[ 8, 4 ]", "[ 4, 4 ]", "[ ]", "[ 1 ]", "[ 3, 5, 7 ]", "[ 1000000 ]"),
        *swaps("preferred_batch_size: [ 4 ]", *(f"preferred_batch_size: {v}" for v in ("[ 9 ]", "[ 0 ]", "[ -4 ]"))),
        most=20,
    ),
    "max_batch_size_below_preferred": kind(
        "batching oldest tensorrt_plan", *swaps("max_batch_size: 8", "max_batch_size: 3", "max_batch_size: 0", "")
    ),
    "queue_delay": kind(
        "batching oldest sequence tensorrt_plan",
        *swaps("delay_microseconds: 100", *(f"delay_microseconds: {value}" for value in (0, 10**12, -1, 2**64, "1.5"))),
        most=12,
    ),
    "scheduler_without_batches": kind(
        "plain unbatched onnx tensorrt_plan",
        *(both(swap("max_batch_size: 8", "max_batch_size: 0"), add(text)) for text in ("dynamic_batching { }",)),
        both(
            swap("max_batch_size: 8", "max_batch_size: 0"), add("dynamic_batching { max_queue_delay_microseconds: 5 }")
        ),
        *adds("dynamic_batching { }", "sequence_batching { }", "sequence_batching { direct { } }"),
        both(swap("max_batch_size: 8", "max_batch_size: 0"), add("sequence_batching { direct { } }")),
        most=18,
    ),
    "priorities": kind(
        "priorities",
        *swaps("default_priority_level: 2", "default_priority_level: 4", "default_priority_level: 0", ""),
        *swaps("default_priority_level: 2", "default_priority_level: 1", "default_priority_level: 3"),
        *swaps("priority_levels: 3", "priority_levels: 0", "priority_levels: 1", "priority_levels: 2", ""),
        *swaps("priority_levels: 3", "priority_levels: -1", "priority_levels: 100000000"),
        most=14,
    ),
    "policy_of_a_priority": kind(
        "priorities",
        *swaps("key: 1", "key: 0", "key: 3", "key: 4", "key: 2", "key: -1", "", "key: 18446744073709551616"),
        swap("value { timeout_action: DELAY default_timeout_microseconds: 500 }", ""),
        both(swap("priority_levels: 3", ""), swap("default_priority_level: 2", "")),
        add("dynamic_batching { priority_queue_policy { key: 1 value { } } }"),
        most=14,
    ),
    "queue_policy": kind(
        "priorities batching tensorrt_plan",
        *swaps("max_queue_size: 16", "max_queue_size: 0", "max_queue_size: -1", "max_queue_size: 1"),
        swap("default_timeout_microseconds: 1000", "default_timeout_microseconds: 0"),
        swap("timeout_action: REJECT", "timeout_action: DELAY"),
        swap("allow_timeout_override: true", "allow_timeout_override: false"),
        swap("preserve_ordering: true", POLICY),
        most=10,
    ),
    "preserve_ordering": kind(
        "batching priorities tensorrt_plan",
        swap("preserve_ordering: true", "preserve_ordering: false"),
        swap("priority_levels: 3", "priority_levels: 3 preserve_ordering: true"),
        swap("preserve_ordering: true", "preserve_ordering: true priority_levels: 2 default_priority_level: 1"),
        swap("preserve_ordering: true", "preserve_ordering: true priority_levels: 1 default_priority_level: 1"),
    ),
    "two_schedulers": kind(
        "batching priorities sequence oldest chain fork tensorrt_plan",
        *adds(
            "sequence_batching { }",
            "dynamic_batching { }",
            'ensemble_scheduling { step { model_name: "part_double" } }',
        ),
        most=14,
    ),
    "two_strategies_of_sequences": kind(
        "sequence oldest",
        swap("sequence_batching {", "sequence_batching { direct { }"),
        swap("sequence_batching {", "sequence_batching { oldest { max_candidate_sequences: 2 }"),
    ),
    "two_values_of_a_control": kind(
        "sequence oldest",
        swap("fp32_false_true: [ 0, 1 ]", "fp32_false_true: [ 0, 1 ] int32_false_true: [ 0, 1 ]"),
        swap("fp32_false_true: [ 0, 1 ]", "fp32_false_true: [ 0, 1 ] bool_false_true: [ false, true ]"),
        swap("fp32_false_true: [ 0, 1 ]", "fp32_false_true: [ 0, 1 ] data_type: TYPE_FP32"),
    ),
    "values_of_a_control": kind(
        "sequence oldest",
        *swaps("fp32_false_true: [ 0, 1 ]", "", "fp32_false_true: [ ]", "fp32_false_true: [ 0 ]"),
        *swaps("fp32_false_true: [ 0, 1 ]", "fp32_false_true: [ 0, 1, 2 ]", "fp32_false_true: [ 1, 1 ]"),
        *swaps("fp32_false_true: [ 0, 1 ]", "fp32_false_true: [ 0.5, -1 ]", "bool_false_true: [ false, true ]"),
        *swaps("fp32_false_true: [ 0, 1 ]", "int32_false_true: [ 1, 0 ]", "int32_false_true: [ 0.5, 1 ]"),
        swap("fp32_false_true: [ 0, 1 ]", "data_type: TYPE_FP32"),
        most=18,
    ),
    "missing_control": kind(
        "sequence oldest",
        *swaps(START + ",", ""),
        *swaps(READY + ",", ""),
        swap(CORRID, START.replace("START", "END")),
        rewrite(lambda text: text.replace(f"{START},", "").replace(f"{READY},", "")),
        rewrite(lambda text: text.replace("control_input [", "#").replace(START, "#").replace(READY, "#")),
        most=10,
    ),
    "repeated_control": kind(
        "sequence oldest",
        *swaps(CORRID, START, f"{CORRID}, {CORRID}", CORRID + "," + START.replace('"START"', '"MORE"')),
        *swaps(
            CORRID,
            control("READY", "END", "fp32_false_true: [ 0, 1 ]"),
            control("x", "CORRID", "data_type: TYPE_INT64"),
        ),
        swap('name: "START"', 'name: ""'),
        swap('name: "START"', ""),
        swap('name: "START"', 'name: "y"'),
        swap("control [", "control [ { kind: CONTROL_SEQUENCE_END fp32_false_true: [ 0, 1 ] },"),
        swap('name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ]', 'name: "START"'),
        most=18,
    ),
    "type_of_the_correlation_id": kind(
        "sequence oldest",
        *swaps(
            "TYPE_UINT64", *(f"TYPE_{name}" for name in ("INT64", "UINT32", "INT32", "STRING", "FP32", "INT8", "BOOL"))
        ),
        *swaps("data_type: TYPE_UINT64", "", "int32_false_true: [ 0, 1 ]", "data_type: TYPE_INVALID"),
        swap("data_type: TYPE_UINT64", "data_type: TYPE_UINT64 int32_false_true: [ 0, 1 ]"),
        most=18,
    ),
    "direct_sequences": kind(
        "sequence",
        *swaps("utilization: 0.5", *(f"utilization: {value}" for value in (0, 1, 1.5, -0.5, "0.001", "1.0001"))),
        swap("minimum_slot_utilization: 0.5", ""),
        *swaps("5000000", "0", "1", "-1", "18446744073709551615"),
        swap("direct {", "direct { preferred_batch_size: [ 4 ]"),
    ),
    "oldest_sequences": kind(
        "oldest",
        *swaps("max_candidate_sequences: 4", *(f"max_candidate_sequences: {value}" for value in (0, -1, 1, 1000000))),
        *swaps("max_candidate_sequences: 4", "", "max_candidate_sequences: 4 preserve_ordering: true"),
        swap("preferred_batch_size: [ 4 ]", ""),
        swap("max_batch_size: 8", "max_batch_size: 0"),
    ),
    "iterative_sequences": kind(
        "sequence oldest batching",
        swap("sequence_batching {", "sequence_batching { iterative_sequence: true"),
        swap("sequence_batching {", "sequence_batching { generative_sequence: true"),
        both(
            swap("sequence_batching {", "sequence_batching { iterative_sequence: true"),
            add("model_transaction_policy { decoupled: true }"),
        ),
        most=6,
    ),
    "state_tensors": kind(
        "oldest sequence",
        *swaps('input_name: "STATE_IN"', "", 'input_name: ""', 'input_name: "x"'),
        *swaps('output_name: "STATE_OUT"', "", 'output_name: "y"'),
        *swaps("data_type: TYPE_INT32\n      dims: [ 2 ]", "dims: [ 2 ]", "data_type: TYPE_INT32"),
        *swaps("      dims: [ 2 ]", "dims: [ -1 ]", "dims: [ 0 ]", "dims: [ -2 ]"),
        swap("sequence_batching {", f"sequence_batching {{ {STATE}"),
        swap("sequence_batching {", f"sequence_batching {{ {STATE.replace('TYPE_FP32', 'TYPE_STRING')}"),
        swap("sequence_batching {", f"sequence_batching {{ {STATE.replace(' } ]', ' use_growable_memory: true } ]')}"),
        swap("sequence_batching {", f"sequence_batching {{ {STATE.replace('dims', 'use_single_buffer: true dims')}"),
        most=20,
    ),
    "initial_state": kind(
        "oldest",
        *swaps("TYPE_INT32 dims: [ 2 ] zero", "TYPE_INT64 dims: [ 2 ] zero", "TYPE_INT32 dims: [ 3 ] zero"),
        *swaps("TYPE_INT32 dims: [ 2 ] zero", "TYPE_INT32 dims: [ -1 ] zero", "TYPE_INT32 zero", "TYPE_INVALID zero"),
        *swaps("zero_data: true", "zero_data: false", "", 'data_file: "absent"', 'data_file: ""'),
        *swaps('name: "first"', "", 'name: ""'),
        swap("initial_state: { data_type: TYPE_INT32 dims: [ 2 ]", "initial_state: { dims: [ 2 ]"),
        most=14,
    ),
    "decoupled": kind(
        "plain batching sequence oldest onnx chain settings tensorrt_plan",
        *adds("model_transaction_policy { decoupled: true }", "model_transaction_policy { }"),
        swap("decoupled: false", "decoupled: true"),
        both(swap("decoupled: false", "decoupled: true"), swap("response_cache { enable: true }", "")),
        most=18,
    ),
}
