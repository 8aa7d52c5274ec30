"""The configs that the real server loads, from which every mutation starts."""

from __future__ import annotations

PYTHON = 'name: "$NAME"\nbackend: "python"\n'
BATCHED = "max_batch_size: 8\n"
IN = 'input {\n  name: "x"\n  data_type: TYPE_FP32\n  dims: [ 4 ]\n}\n'
OUT = 'output {\n  name: "y"\n  data_type: TYPE_FP32\n  dims: [ 4 ]\n}\n'
ONE_INSTANCE = "instance_group {\n  kind: KIND_CPU\n  count: 1\n}\n"
PLAIN = PYTHON + BATCHED + IN + OUT + ONE_INSTANCE
UNBATCHED = (
    PYTHON
    + """max_batch_size: 0
input [
  { name: "x" data_type: TYPE_FP32 dims: [ 2, 3 ] },
  { name: "length" data_type: TYPE_INT64 dims: [ -1 ] }
]
output [
  { name: "y" data_type: TYPE_STRING dims: [ 1 ] }
]
"""
    + ONE_INSTANCE
)
SHAPED = (
    PYTHON
    + BATCHED
    + """input {
  name: "image"
  data_type: TYPE_UINT8
  format: FORMAT_NCHW
  dims: [ 3, 8, 8 ]
  reshape: { shape: [ 192 ] }
}
input {
  name: "scale"
  data_type: TYPE_FP32
  dims: [ 1 ]
  reshape: { shape: [ ] }
  optional: true
}
output {
  name: "scores"
  data_type: TYPE_FP16
  dims: [ 10 ]
  label_filename: "labels.txt"
}
output {
  name: "best"
  data_type: TYPE_INT32
  dims: [ 1 ]
  reshape: { shape: [ ] }
}
"""
    + ONE_INSTANCE
)
BATCHING = (
    PLAIN
    + """dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
  preserve_ordering: true
}
"""
)
PRIORITIES = (
    PLAIN
    + """dynamic_batching {
  priority_levels: 3
  default_priority_level: 2
  default_queue_policy {
    timeout_action: REJECT
    default_timeout_microseconds: 1000
    allow_timeout_override: true
    max_queue_size: 16
  }
  priority_queue_policy {
    key: 1
    value { timeout_action: DELAY default_timeout_microseconds: 500 }
  }
}
"""
)
START = '{ name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] }'
READY = '{ name: "READY" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } ] }'
CORRID = '{ name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] }'
CONTROLS = f"  control_input [\n    {START},\n    {READY},\n    {CORRID}\n  ]\n"
SEQUENCE = (
    PLAIN
    + f"""sequence_batching {{
  max_sequence_idle_microseconds: 5000000
  direct {{
    max_queue_delay_microseconds: 100
    minimum_slot_utilization: 0.5
  }}
{CONTROLS}}}
"""
)
OLDEST = (
    PLAIN
    + f"""sequence_batching {{
  oldest {{
    max_candidate_sequences: 4
    preferred_batch_size: [ 4 ]
    max_queue_delay_microseconds: 100
  }}
{CONTROLS}  state [
    {{
      input_name: "STATE_IN"
      output_name: "STATE_OUT"
      data_type: TYPE_INT32
      dims: [ 2 ]
      initial_state: {{ data_type: TYPE_INT32 dims: [ 2 ] zero_data: true name: "first" }}
    }}
  ]
}}
"""
)
INSTANCES = (
    PYTHON
    + BATCHED
    + IN
    + OUT
    + """instance_group [
  {
    name: "workers"
    kind: KIND_CPU
    count: 1
    rate_limiter {
      resources [
        { name: "R1" count: 1 },
        { name: "R2" global: true count: 2 }
      ]
      priority: 2
    }
  }
]
"""
)
WARMED = (
    PLAIN
    + """model_warmup [
  {
    name: "zeros"
    batch_size: 1
    inputs {
      key: "x"
      value: { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true }
    }
  },
  {
    name: "file"
    batch_size: 2
    count: 2
    inputs {
      key: "x"
      value: { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "sample" }
    }
  }
]
"""
)
VERSIONS = PLAIN + "version_policy: { specific: { versions: [ 1, 3 ] } }\n"
SETTINGS = (
    PLAIN
    + """optimization {
  priority: PRIORITY_DEFAULT
  input_pinned_memory { enable: true }
  output_pinned_memory { enable: false }
}
parameters {
  key: "color"
  value: { string_value: "red" }
}
response_cache { enable: true }
model_transaction_policy { decoupled: false }
"""
)
ONNX = PLAIN.replace('backend: "python"', 'platform: "onnxruntime_onnx"')
ENSEMBLE_HEAD = 'name: "$NAME"\nplatform: "ensemble"\n'


def step(model: str, inputs: dict[str, str], outputs: dict[str, str]) -> str:
    """A step; the maps are from the tensors of the model to those of the ensemble."""
    maps = [
        f'      {field} {{ key: "{key}" value: "{value}" }}\n'
        for field, pairs in (("input_map", inputs), ("output_map", outputs))
        for key, value in pairs.items()
    ]
    return f'    {{\n      model_name: "{model}"\n      model_version: -1\n{"".join(maps)}    }}'


def ensemble(head: str, *steps: str) -> str:
    return head + "ensemble_scheduling {\n  step [\n" + ",\n".join(steps) + "\n  ]\n}\n"


CHAIN = ensemble(
    ENSEMBLE_HEAD + BATCHED + IN + OUT,
    step("part_double", {"x": "x"}, {"y": "middle"}),
    step("part_double", {"x": "middle"}, {"y": "y"}),
)
FORK = ensemble(
    ENSEMBLE_HEAD + BATCHED + IN + OUT.replace('"y"', '"text"').replace("FP32", "STRING").replace("4", "1") + OUT,
    step("part_double", {"x": "x"}, {"y": "middle"}),
    step("part_text", {"x": "middle"}, {"text": "text"}),
    step("part_sum", {"a": "x", "b": "middle"}, {"y": "y"}),
)
FLAT = ensemble(
    ENSEMBLE_HEAD + "max_batch_size: 0\n" + IN + OUT,
    step("part_flat", {"x": "x"}, {"y": "y"}),
)
