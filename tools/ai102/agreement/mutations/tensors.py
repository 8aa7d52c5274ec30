"""Mutations of the inputs and outputs of a model: names, types, shapes, and what hangs on them."""

from __future__ import annotations

from collections.abc import Mapping

from ai102.agreement.mutations.edits import Kind, add, adds, both, drop, kind, put, rewrite, swap, swaps

X = 'name: "x"\n  data_type: TYPE_FP32\n  dims: [ 4 ]'
# One seed for each way in which a config is checked.
SOME = "plain batching onnx chain tensorrt_plan"
TYPES = ("BOOL", "UINT8", "UINT32", "UINT64", "INT8", "INT16", "INT64", "FP16", "FP64", "STRING", "BF16", "INVALID")


def without(text: str, head: str) -> str:
    """The config without the block that starts with `head`."""
    before, found, after = text.partition(head)
    return before + after.partition("\n}\n")[2] if found else text


KINDS: Mapping[str, Kind] = {
    "name_other_than_the_folder": kind(
        "plain onnx chain tensorrt_plan",
        *swaps('name: "$NAME"', 'name: "other"', 'name: "$NAME_"', 'name: "$NAME "', 'name: "../$NAME"', 'name: "."'),
        swap('name: "$NAME"', 'name: "part_double"'),
        most=10,
    ),
    "empty_name": kind("plain onnx chain tensorrt_plan", swap('name: "$NAME"', 'name: ""'), swap('name: "$NAME"', "")),
    "negative_max_batch_size": kind(
        SOME, *swaps("max_batch_size: 8", "max_batch_size: -1", "max_batch_size: -8", "max_batch_size: -2147483648")
    ),
    "other_max_batch_size": kind(
        "plain batching oldest sequence onnx shaped warmed tensorrt_plan unbatched",
        *swaps("max_batch_size: 8", "max_batch_size: 0", "max_batch_size: 1", "max_batch_size: 4", ""),
        *swaps("max_batch_size: 8", "max_batch_size: 2147483647", "max_batch_size: 7"),
        swap("max_batch_size: 0", "max_batch_size: 1"),
        swap("max_batch_size: 0", ""),
        most=26,
    ),
    "missing_input": kind(SOME + " unbatched", rewrite(lambda text: without(text, "input {")), most=6),
    "missing_output": kind(SOME + " fork", rewrite(lambda text: without(text, "output {")), most=6),
    "no_tensors_at_all": kind(
        SOME, rewrite(lambda text: without(without(text, "input {"), "output {")), both(swap("input {", "output {"))
    ),
    "missing_tensor_name": kind(
        SOME + " unbatched", swap('name: "x"', ""), swap('name: "y"', ""), swap('name: "x"', 'name: ""'), most=10
    ),
    "missing_data_type": kind(
        SOME + " unbatched", swap("data_type: TYPE_FP32", ""), swap("data_type: TYPE_STRING", ""), most=6
    ),
    "other_data_type": kind(
        "plain onnx tensorrt_plan", *swaps("data_type: TYPE_FP32", *(f"data_type: TYPE_{t}" for t in TYPES)), most=26
    ),
    "empty_dims": kind(
        SOME,
        *swaps("dims: [ 4 ]", "", "dims: [ ]"),
        rewrite(lambda text: text.replace("dims: [ 4 ]", "")),
        rewrite(lambda text: text.replace("dims: [ 4 ]", "dims: [ ]").replace("max_batch_size: 8", "")),
    ),
    "dims_of_zero_or_below": kind(
        SOME + " unbatched",
        *swaps("dims: [ 4 ]", "dims: [ 0 ]", "dims: [ -1 ]", "dims: [ -2 ]", "dims: [ 4, 0 ]", "dims: [ -1, -1 ]"),
        *swaps("dims: [ 2, 3 ]", "dims: [ 2, -1 ]", "dims: [ 0, 3 ]", "dims: [ -3, 3 ]"),
        most=22,
    ),
    "other_dims": kind(
        "plain onnx unbatched",
        *swaps("dims: [ 4 ]", "dims: [ 5 ]", "dims: [ 1, 4 ]", "dims: [ 4, 1 ]", "dims: [ 2147483648 ]"),
        *swaps("dims: [ 2, 3 ]", "dims: [ 3, 2 ]", "dims: [ 6 ]", "dims: [ 1, 1, 1, 1, 1, 1, 1, 1, 1 ]"),
    ),
    "reshape": kind(
        "plain shaped unbatched tensorrt_plan",
        *swaps("[ 192 ]", "[ 3, 64 ]", "[ 191 ]", "[ -1 ]", "[ 3, -1 ]", "[ ]", "[ 0 ]", "[ 192, 1 ]", "[ -192 ]"),
        *swaps("dims: [ 4 ]", "dims: [ 4 ] reshape { }", "dims: [ 4 ] reshape { shape: [ 2, 2 ] }"),
        *swaps("dims: [ 4 ]", "dims: [ 4 ] reshape { shape: [ 3 ] }", "dims: [ -1 ] reshape { shape: [ -1, 1 ] }"),
        *swaps("dims: [ 4 ]", "dims: [ -1 ] reshape { shape: [ 4 ] }", "dims: [ -1, 4 ] reshape { shape: [ 4, -1 ] }"),
        *swaps("dims: [ 4 ]", "dims: [ -1, 2, -1 ] reshape { shape: [ -1, 2 ] }", "reshape { shape: [ 4 ] }"),
        *swaps("dims: [ 4 ]", "dims: [ -1, 4 ] reshape { shape: [ -1, 2, 2 ] }", "dims: [ 1 ] reshape { shape: [ ] }"),
        *swaps("dims: [ 4 ]", "dims: [ 2, -1, 3 ] reshape { shape: [ 3, -1, 2 ] }"),
        *swaps("dims: [ 4 ]", "dims: [ -1, 2, -1 ] reshape { shape: [ -1, 4, -1 ] }"),
        *swaps("dims: [ 4 ]", "dims: [ 2, 2, -1 ] reshape { shape: [ 4, -1 ] }"),
        *swaps("dims: [ 2, 3 ]", "dims: [ 2, 3 ] reshape: { shape: [ 6 ] }", "dims: [ 2, 3 ] reshape: { shape: [ ] }"),
        most=44,
    ),
    "unbatched_reshape_to_nothing": kind(
        "unbatched", swap("dims: [ 1 ]", "dims: [ 1 ] reshape { shape: [ ] }"), swap("dims: [ 1 ]", "dims: [ ]")
    ),
    "format_of_input": kind(
        "plain shaped tensorrt_plan onnx",
        *swaps(X, *(f"{X} format: {form}" for form in ("FORMAT_NONE", "FORMAT_NCHW", "FORMAT_NHWC"))),
        *swaps("[ 3, 8, 8 ]", "[ 192 ]", "[ 3, 8 ]", "[ 3, 8, 8, 1 ]", "[ -1, -1, 3 ]"),
        most=14,
    ),
    "duplicate_tensor_names": kind(
        "plain onnx unbatched shaped tensorrt_plan",
        *adds(
            'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }', 'output { name: "y" data_type: TYPE_FP32 dims: 4 }'
        ),
        swap('"length"', '"x"'),
        swap('"best"', '"scores"'),
        swap('"y"', '"x"'),
        most=12,
    ),
    "one_tensor_more": kind(
        "plain unbatched onnx tensorrt_plan",
        *adds('input { name: "more" data_type: TYPE_FP32 dims: [ 4 ] }', 'input { name: "more" data_type: TYPE_BOOL }'),
        *adds('output { name: "more" data_type: TYPE_INT8 dims: [ -1 ] }', "output { }", "input { }"),
        most=14,
    ),
    "odd_tensor_names": kind(
        "plain", *swaps('"x"', '"x y"', '"x/y:0"', '"x__0"', '"日本"', '"x\\n"', '"0"', '"' + 200 * "x" + '"')
    ),
    "shape_tensor": kind(
        "plain onnx unbatched tensorrt_plan",
        *swaps(X, f"{X} is_shape_tensor: true", f"{X} is_shape_tensor: false"),
        swap("dims: [ -1 ]", "dims: [ -1 ] is_shape_tensor: true"),
        swap('name: "y"', 'name: "y" is_shape_tensor: true'),
        most=10,
    ),
    "non_linear_format": kind(
        "plain tensorrt_plan pytorch_libtorch", swap('name: "y"', 'name: "y" is_non_linear_format_io: true'), most=4
    ),
    "optional_input": kind(
        "plain unbatched batching onnx sequence tensorrt_plan",
        swap(X, X + " optional: true"),
        swap("dims: [ -1 ]", "dims: [ -1 ] optional: true"),
        swap('name: "y"', 'name: "y" optional: true'),
        most=10,
    ),
    "ragged_input": kind(
        "plain unbatched batching onnx sequence tensorrt_plan",
        swap(X, X + " allow_ragged_batch: true"),
        swap("dims: [ -1 ]", "dims: [ -1 ] allow_ragged_batch: true"),
        swap('name: "y"', 'name: "y" allow_ragged_batch: true'),
        both(swap(X, X + " allow_ragged_batch: true"), swap("max_batch_size: 8", "max_batch_size: 0")),
        most=14,
    ),
    "batch_input": kind(
        "plain batching unbatched tensorrt_plan",
        *(
            add(f'batch_input [ {{ kind: {what} target_name: "index" data_type: TYPE_FP32 source_input: "x" }} ]')
            for what in ("BATCH_ELEMENT_COUNT", "BATCH_ACCUMULATED_ELEMENT_COUNT", "BATCH_ITEM_SHAPE", "BATCH_NOTHING")
        ),
        *adds(
            'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "i" data_type: TYPE_FP32 source_input: "absent" }',
            'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "index" data_type: TYPE_FP32 }',
            'batch_input { kind: BATCH_ELEMENT_COUNT data_type: TYPE_FP32 source_input: "x" }',
            'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "i" data_type: TYPE_STRING source_input: "x" }',
            'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "i" source_input: "x" }',
            'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "i" data_type: TYPE_INT32 source_input: ["x", "x"] }',
            'batch_input { kind: BATCH_ELEMENT_COUNT target_name: ["x"] data_type: TYPE_INT32 source_input: "x" }',
        ),
        most=18,
    ),
    "batch_output": kind(
        "plain batching unbatched tensorrt_plan",
        *adds(
            'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "y" source_input: "x" }',
            'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "absent" source_input: "x" }',
            'batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "y" source_input: "absent" }',
            'batch_output { target_name: "y" }',
            'batch_output { source_input: "x" }',
            'batch_output { target_name: ["y", "y"] source_input: "x" }',
            'batch_output { target_name: "y" source_input: ["x", "x"] }',
        ),
    ),
    "labels": kind(
        "shaped plain chain onnx",
        drop("labels.txt"),
        *swaps('"labels.txt"', '"absent.txt"', '"/labels.txt"', '"../labels.txt"', '""', '"1/labels.txt"', '"1"'),
        put("labels.txt", ""),
        put("labels.txt", "one\n"),
        put("labels.txt", b"\xff\xfe\n\0\n"),
        both(swap('name: "y"', 'name: "y" label_filename: "labels.txt"'), put("labels.txt", "a\nb\nc\nd\n")),
        both(swap('name: "y"', 'name: "y" label_filename: "absent.txt"')),
        swap('name: "x"', 'name: "x" label_filename: "labels.txt"'),
        most=18,
    ),
}
