"""Mutations of ensembles: their steps, the tensors between them, and what an ensemble cannot have."""

from __future__ import annotations

from collections.abc import Mapping

from ai102.agreement.mutations.configs import CHAIN, IN, OUT, step
from ai102.agreement.mutations.edits import CONFIG, NAME, Edit, Kind, add, adds, both, kind, put, rewrite, swap, swaps
from ai102.agreement.mutations.files import ZEROS, warmup
from ai102.agreement.mutations.seeds import MODEL_PY, PARTS
from ai102.agreement.mutations.steps import TO_MIDDLE, of_one, steps

ALL = "chain fork flat"
SECOND = 'input_map { key: "x" value: "middle" }'


def beside(config: str) -> Edit:
    """A second model, $NAME_b, in a folder of its own."""
    folder = f"../{NAME}_b"
    return both(put(f"{folder}/{CONFIG}", config.replace(NAME, f"{NAME}_b")), put(f"{folder}/1/model.py", MODEL_PY))


def other_step(config: str) -> Edit:
    return both(beside(config), swap("part_double", f"{NAME}_b"))


PLAIN = str(PARTS["part_double"][CONFIG])
TO_Y = step("part_double", {"x": "x"}, {"y": "y"})
CIRCLE = CHAIN.replace(NAME, "@").replace("part_double", NAME, 1).replace("@", f"{NAME}_b")
KINDS: Mapping[str, Kind] = {
    "step_of_an_unknown_model": kind(
        ALL,
        *swaps(
            'model_name: "part_', 'model_name: "absent_', 'model_name: "', 'model_name: "Part_', 'model_name: "/part_'
        ),
        *swaps('model_name: "part_double"', 'model_name: ""', ""),
        most=14,
    ),
    "step_is_the_ensemble_itself": kind(ALL, swap('model_name: "part_double"', 'model_name: "$NAME"'), most=2),
    "ensembles_in_a_circle": kind(
        "chain fork",
        both(put(f"../{NAME}_b/1/"), put(f"../{NAME}_b/{CONFIG}", CIRCLE), swap("part_double", f"{NAME}_b")),
        most=2,
    ),
    "step_is_an_ensemble": kind("chain fork", swap("part_double", "part_inner"), of_one("part_inner"), most=3),
    "step_that_cannot_be_loaded": kind(
        "chain fork",
        other_step(PLAIN.replace("TYPE_FP32", "TYPE_FLOAT", 1)),
        other_step(PLAIN.replace("dims: [ 4 ]", "dims: [ 0 ]", 1)),
        other_step(PLAIN.replace('"python"', '"nonsense"', 1)),
        other_step(PLAIN.replace("max_batch_size: 8", "max_batch_size: -1", 1)),
        other_step(PLAIN.replace("count: 1", "count: 1 gpus: 0", 1)),
        most=8,
    ),
    "step_with_harmless_changes": kind(
        "chain fork",
        other_step(PLAIN),
        other_step(PLAIN.replace("max_batch_size: 8", "max_batch_size: 16")),
        other_step(PLAIN + "dynamic_batching { }"),
        other_step(PLAIN + 'parameters { key: "a" value { string_value: "b" } }'),
        other_step(PLAIN.replace("dims: [ 4 ]", "dims: [ -1 ]")),
        most=8,
    ),
    "unknown_tensor_of_a_step": kind(
        ALL,
        *swaps(
            'input_map { key: "x"', 'input_map { key: "z"', 'input_map { key: "y"', 'input_map { key: ""', "input_map {"
        ),
        *swaps('output_map { key: "y"', 'output_map { key: "z"', 'output_map { key: "x"', "output_map {"),
        most=20,
    ),
    "unknown_tensor_of_the_ensemble": kind(
        ALL,
        *swaps('value: "x"', 'value: "z"', 'value: ""', 'value: "X"'),
        *swaps('value: "middle"', 'value: "z"', 'value: "y"', 'value: "x"'),
        *swaps('value: "y"', 'value: "z"', 'value: "x"', 'value: ""', 'value: "middle"'),
        swap(SECOND, 'input_map { key: "x" value: "z" }'),
        swap(SECOND, 'input_map { key: "x" value: "y" }'),
        most=26,
    ),
    "unmapped_tensor": kind(
        ALL,
        swap('input_map { key: "x" value: "x" }', ""),
        swap('input_map { key: "b" value: "middle" }', ""),
        swap('output_map { key: "y" value: "y" }', ""),
        swap('output_map { key: "y" value: "middle" }', ""),
        swap(SECOND, ""),
        most=10,
    ),
    "tensor_mapped_twice": kind(
        ALL,
        swap('input_map { key: "x"', 'input_map { key: "x" value: "x" } input_map { key: "x"'),
        swap('output_map { key: "y"', 'output_map { key: "y" value: "other" } output_map { key: "y"'),
        swap('output_map { key: "y" value: "y" }', 'output_map { key: "y" value: "middle" }'),
        swap('{ key: "a" value: "x" }', '{ key: "a" value: "middle" }'),
        steps(TO_Y, TO_Y),
        steps(TO_MIDDLE, TO_MIDDLE, step("part_double", {"x": "middle"}, {"y": "y"})),
        most=12,
    ),
    "unused_tensors": kind(
        ALL,
        add('input { name: "unused" data_type: TYPE_FP32 dims: [ 4 ] }'),
        add('output { name: "unmade" data_type: TYPE_FP32 dims: [ 4 ] }'),
        swap('output_map { key: "y" value: "middle" }', 'output_map { key: "y" value: "middle" } #'),
        steps(TO_Y, step("part_double", {"x": "x"}, {"y": "unused"})),
        steps(TO_Y, step("part_double", {"x": "y"}, {"y": "unused"})),
    ),
    "order_of_steps": kind(
        "chain",
        steps(step("part_double", {"x": "middle"}, {"y": "y"}), TO_MIDDLE),
        steps(step("part_double", {"x": "b"}, {"y": "a"}), step("part_double", {"x": "a"}, {"y": "b"}), TO_Y),
        steps(step("part_double", {"x": "y"}, {"y": "y"})),
        steps(step("part_double", {"x": "b"}, {"y": "y"}), step("part_double", {"x": "y"}, {"y": "b"})),
    ),
    "no_steps": kind(
        ALL,
        rewrite(lambda text: text.partition("ensemble_scheduling")[0]),
        rewrite(lambda text: text.partition("ensemble_scheduling")[0] + "ensemble_scheduling { }"),
        rewrite(lambda text: text.partition("ensemble_scheduling")[0] + "ensemble_scheduling { step [ ] }"),
        steps("{ }"),
        steps('{ model_name: "part_double" }'),
        steps('{ model_name: "part_double" model_version: -1 input_map { key: "x" value: "x" } }'),
        most=12,
    ),
    "version_of_a_step": kind(
        ALL,
        *swaps(
            "model_version: -1", "model_version: 1", "model_version: 2", "model_version: 0", "model_version: -2", ""
        ),
        most=12,
    ),
    "optional_input_of_a_step": kind(
        "chain",
        of_one("part_optional"),
        steps(step("part_optional", {"x": "x", "extra": "x"}, {"y": "y"})),
        steps(step("part_optional", {"extra": "x"}, {"y": "y"})),
        swap('name: "x"', 'name: "x" optional: true'),
    ),
    "decoupled_step": kind(
        "chain",
        of_one("part_decoupled"),
        both(of_one("part_decoupled"), add("model_transaction_policy { decoupled: true }")),
        steps(step("part_decoupled", {"x": "x"}, {"y": "middle"}), step("part_decoupled", {"x": "middle"}, {"y": "y"})),
        add("model_transaction_policy { decoupled: true }"),
    ),
    "step_with_sequences": kind("chain", of_one("part_sequence"), add("sequence_batching { }"), most=2),
    "namespace_of_a_step": kind(
        "chain fork", swap("model_version: -1", 'model_version: -1 model_namespace: "other"'), most=2
    ),
    "ensemble_with_the_settings_of_a_model": kind(
        ALL,
        *adds(
            "instance_group { kind: KIND_CPU count: 1 }",
            "instance_group { count: 0 }",
            "instance_group { kind: KIND_GPU }",
        ),
        *adds("dynamic_batching { }", "response_cache { enable: true }", "optimization { priority: PRIORITY_MAX }"),
        *adds('default_model_filename: "model.py"', 'parameters { key: "a" value { string_value: "b" } }'),
        add(warmup(ZEROS)),
        add("version_policy { specific { versions: [ 2 ] } }"),
        add('backend: "python"'),
        put("1/model.py", MODEL_PY),
        most=24,
    ),
    "scheduling_of_a_model_that_is_no_ensemble": kind(
        "plain onnx tensorrt_plan unbatched",
        *adds(
            "ensemble_scheduling { }", 'ensemble_scheduling { step { model_name: "part_double" model_version: -1 } }'
        ),
        swap('backend: "python"', 'platform: "ensemble"'),
        most=8,
    ),
    "tensors_of_an_ensemble": kind(
        ALL,
        *swaps("data_type: TYPE_FP32", "", "data_type: TYPE_INT32", "data_type: TYPE_INVALID"),
        *swaps("dims: [ 4 ]", "", "dims: [ ]", "dims: [ 0 ]", "dims: [ -1 ]", "dims: [ 8 ]"),
        put(CONFIG, CHAIN.replace(IN, "")),
        put(CONFIG, CHAIN.replace(OUT, "")),
        most=20,
    ),
    "unbatched_neighbour": kind("flat", swap("part_flat", "part_double"), most=1),
}
