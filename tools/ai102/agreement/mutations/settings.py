"""Mutations of the backend and of settings that stand apart: cache, optimization, parameters, metrics, agents."""

from __future__ import annotations

from collections.abc import Mapping

from ai102.agreement.mutations.edits import Kind, add, adds, both, kind, put, swap, swaps
from ai102.agreement.mutations.seeds import MODEL_PY

KINDS: Mapping[str, Kind] = {
    "unknown_platform": kind(
        "onnx tensorrt_plan chain",
        *swaps('"onnxruntime_onnx"', '"onnx"', '"ONNXRUNTIME_ONNX"', '"onnxruntime"', '"tensorrt"', '""', '"python"'),
        *swaps('"tensorrt_plan"', '"tensorrt-plan"', '"pytorch"', '"custom"', '"tensorrt_plan "'),
        *swaps('"ensemble"', '"ensembles"', '"Ensemble"', '""'),
        most=16,
    ),
    "missing_platform": kind(
        "onnx tensorrt_plan plain", *swaps('platform: "', '# "'), *swaps('backend: "', '# "'), most=4
    ),
    "unknown_backend": kind(
        "plain",
        *swaps('"python"', '"Python"', '"python3"', '"py"', '""', '"nonsense"', '"custom"', '"../python"'),
        most=8,
    ),
    "backend_that_the_package_lacks": kind(
        "plain batching priorities sequence",
        *swaps(
            '"python"',
            '"tensorrt"',
            '"pytorch"',
            '"openvino"',
            '"dali"',
            '"fil"',
            '"vllm"',
            '"tensorrtllm"',
            '"identity"',
        ),
    ),
    "platform_and_backend": kind(
        "plain onnx chain tensorrt_plan",
        *adds('platform: "onnxruntime_onnx"', 'backend: "onnxruntime"', 'backend: "python"', 'backend: "ensemble"'),
        *adds('platform: "tensorrt_plan"', 'platform: "ensemble"', 'platform: "python"', 'backend: "tensorrt"'),
        swap('platform: "onnxruntime_onnx"', 'backend: "onnxruntime"'),
        swap('platform: "tensorrt_plan"', 'backend: "tensorrt"'),
        swap('platform: "ensemble"', 'backend: "ensemble"'),
        swap('backend: "python"', 'backend: "onnxruntime"'),
        most=26,
    ),
    "runtime": kind(
        "plain onnx tensorrt_plan",
        *adds('runtime: ""', 'runtime: "libtriton_python.so"', 'runtime: "model.py"', 'runtime: "absent.so"'),
        both(add('runtime: "model.py"'), put("1/model.py", MODEL_PY)),
        both(add('runtime: "../model.py"'), put("model.py", MODEL_PY)),
        most=14,
    ),
    "response_cache": kind(
        "plain batching sequence oldest onnx unbatched settings tensorrt_plan",
        *adds("response_cache { enable: true }", "response_cache { }"),
        swap("enable: true", "enable: false"),
        most=12,
    ),
    "cache_of_a_decoupled_model": kind(
        "plain onnx chain",
        add("response_cache { enable: true } model_transaction_policy { decoupled: true }"),
        add("response_cache { enable: false } model_transaction_policy { decoupled: true }"),
        most=4,
    ),
    "optimization": kind(
        "plain batching onnx chain tensorrt_plan settings",
        *adds(
            "optimization { graph { level: 1 } cuda { graphs: true } }",
            "optimization { graph { level: -5 } }",
            'optimization { execution_accelerators { gpu_execution_accelerator [ { name: "tensorrt" } ] } }',
            'optimization { execution_accelerators { cpu_execution_accelerator [ { name: "nonsense" } ] } }',
            "optimization { cuda { busy_wait_events: true output_copy_stream: true } }",
            'optimization { cuda { graph_spec { batch_size: 99 input { key: "x" value { dim: [ 4 ] } } } } }',
            "optimization { cuda { graph_spec { batch_size: -1 } } }",
            "optimization { cuda { graph_spec { batch_size: 4 graph_lower_bound { batch_size: 9 } } } }",
            "optimization { gather_kernel_buffer_threshold: 1 eager_batching: true }",
            "optimization { eager_batching: true }",
            "optimization { priority: PRIORITY_MAX }",
            "optimization { input_pinned_memory { enable: false } }",
        ),
        most=26,
    ),
    "parameters": kind(
        "plain onnx chain settings",
        *adds(
            'parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "no" } }',
            'parameters { key: "EXECUTION_ENV_PATH" value { string_value: "/absent/env.tar.gz" } }',
            'parameters { key: "" value { string_value: "" } }',
            'parameters { key: "a" }',
            'parameters { value { string_value: "a" } }',
            'parameters { key: "a" value: "b" }',
            "parameters { }",
            'parameters { key: "intra_op_thread_count" value { string_value: "two" } }',
            'parameters { key: "a" value { string_value: 1 } }',
            'parameters [ { key: "a" value { string_value: "1" } }, { key: "a" value { string_value: "2" } } ]',
        ),
        most=22,
    ),
    "metric_tags": kind(
        "plain onnx chain",
        *adds(
            'metric_tags { key: "a" value: "b" }',
            'metric_tags { key: "model" value: "b" }',
            'metric_tags { key: "a b" }',
        ),
        *adds(
            'metric_tags { key: "a" value { string_value: "b" } }',
            "metric_tags { }",
            'metric_tags { key: "1" value: "\\""}',
        ),
        most=12,
    ),
    "model_metrics": kind(
        "plain onnx",
        *adds(
            'model_metrics { metric_control { metric_identifier { family: "nv_inference_first_response_ms" }}}',
            'model_metrics { metric_control { metric_identifier { family: "absent" } } }',
            "model_metrics { metric_control { histogram_options { buckets: [ 1, 2, 4 ] } } }",
            "model_metrics { metric_control { histogram_options { buckets: [ 4, 1 ] } } }",
            "model_metrics { }",
        ),
        most=6,
    ),
    "model_operations": kind(
        "plain onnx tensorrt_plan",
        *adds('model_operations { op_library_filename: "absent.so" }', 'model_operations { op_library_filename: "" }'),
        most=5,
    ),
    "model_repository_agents": kind(
        "plain chain tensorrt_plan",
        *adds('model_repository_agents { agents [ { name: "checksum" } ] }', "model_repository_agents { }"),
        *adds('model_repository_agents { agents { name: "" } }', "model_repository_agents { agents [ ] }"),
        most=9,
    ),
    "input_of_a_cache_key": kind("plain", add('input [ { name: "k" data_type: TYPE_STRING dims: [ 1 ] } ]'), most=1),
}
