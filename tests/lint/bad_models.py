"""For every code of the linter, models that have it and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from onnx import TensorProto, helper

from ai102_runtime.engine.cpu import this_cpu
from tests.e2e.conftest import Files
from tests.e2e.onnx_files import identity

CODE = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
IN = 'input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }\n'
OUT = 'output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }\n'
PLAIN = 'backend: "python"\nmax_batch_size: 8\n' + IN + OUT
ONNX = PLAIN.replace('backend: "python"', 'platform: "onnxruntime_onnx"')
OPENVINO = PLAIN.replace('"python"', '"openvino"')
FLAT = ONNX.replace("8", "0").replace("[ 4 ]", "[ -1, 4 ]")
EXTRA = IN.replace('"x"', '"extra"').replace("[ 4 ]", "[ -1, 4 ]")
PLAN = PLAIN.replace('backend: "python"', 'platform: "tensorrt_plan"')
PROFILES = {"profiles": {"x": {"least": [1, 4], "opt": [4, 4], "most": [8, 4]}}}
Models = Mapping[str, Files]


def python(config: str, code: str = CODE, **more: str | bytes) -> Files:
    return {"config.pbtxt": config, "1/model.py": code, **more}


def completing(body: str, returned: str = "config") -> str:
    """A model's code with an auto_complete_config of these lines."""
    lines = [*body.splitlines(), f"return {returned}"]
    method = "".join(f"        {line}\n" for line in lines)
    return f"class TritonPythonModel:\n    @staticmethod\n    def auto_complete_config(config):\n{method}"


def onnx(config: str, *dims: int | str) -> Files:
    return {"config.pbtxt": config, "1/model.onnx": identity("FP32", dims or ("n", 4))}


def openvino(config: str) -> Files:
    return {"config.pbtxt": config, "1/model.xml": '<?xml version="1.0"?><net/>', "1/model.bin": b""}


def sum_onnx(config: str, *, has_default: bool = False) -> Files:
    """Adds two inputs, "x" and "extra"; the second may have a default."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "extra", "y")]
    default = [helper.make_tensor("extra", TensorProto.FLOAT, [1, 4], [0.0] * 4)] if has_default else []
    node = helper.make_node("Add", ["x", "extra"], ["y"])
    graph = helper.make_graph([node], "sum", tensors[:2], tensors[2:], initializer=default)
    return {"config.pbtxt": config, "1/model.onnx": helper.make_model(graph)}


def plan(config: str) -> Files:
    return {"config.pbtxt": config, "1/model.plan": b"plan", "1/model.plan.made.json": json.dumps(PROFILES)}


def step(model: str, inputs: str = "x=x", outputs: str = "y=y", version: int = -1) -> str:
    maps = [
        f'{kind}_map {{ key: "{pair.partition("=")[0]}" value: "{pair.partition("=")[2]}" }}'
        for kind, pairs in (("input", inputs), ("output", outputs))
        for pair in pairs.split()
    ]
    return f'step {{ model_name: "{model}" model_version: {version} {" ".join(maps)} }}'


def ensemble(*steps: str, tensors: str = IN + OUT, more: str = "") -> Files:
    head = 'platform: "ensemble"\nmax_batch_size: 8\n' + tensors + more
    return {"config.pbtxt": head + "ensemble_scheduling { " + "\n".join(steps) + " }\n", "1/.keep": ""}


def warmed(inputs: str, sample: str = "batch_size: 1") -> str:
    return f'model_warmup {{ name: "w" {sample} {inputs} }}\n'


def given(name: str = "x", data_type: str = "FP32", dims: str = "[ 4 ]", source: str = "zero_data: true") -> str:
    return f'inputs {{ key: "{name}" value {{ data_type: TYPE_{data_type} dims: {dims} {source} }} }}'


def batching(settings: str) -> str:
    return PLAIN + f"dynamic_batching {{ {settings} }}\n"


def alone(settings: str) -> str:
    return batching(settings).replace("max_batch_size: 8", "max_batch_size: 1")


def sequence(settings: str) -> str:
    return f"sequence_batching {{ {settings} }}\n"


def state(initial: str) -> str:
    return f'state {{ input_name: "i" output_name: "o" data_type: TYPE_FP32 dims: [ 2 ] {initial} }}'


def controls(*tensors: str) -> str:
    return PLAIN + sequence(" ".join(f"control_input {{ {tensor} }}" for tensor in tensors))


START = 'name: "S" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] }'
IDS = 'name: "C" control { kind: CONTROL_SEQUENCE_CORRID %s }'
OUT_Z = OUT.replace('"y"', '"z"')
SIDE = {
    "part": python(PLAIN + "model_transaction_policy { decoupled: true }"),
    "plain": python(PLAIN),
}
DECOUPLED = python(PLAIN + "model_transaction_policy { decoupled: true }")
SUM = python(PLAIN.replace('"x"', '"a"') + IN.replace('"x"', '"b"'))
LABELLED = PLAIN.replace('name: "y"', 'name: "y" label_filename: "labels.txt"')

# The model that is judged is "m"; a case that is one model's files has no other.
BAD: Mapping[str, Sequence[Files | Models]] = {
    "MR001": [python(PLAIN + "}"), python(PLAIN.replace(": ", " ")), python('name: "m'), python("version_policy {")],
    "MR002": [python(PLAIN.replace("max_batch_size", "max_batchsize")), python(PLAIN + "extra { a: [ 1 ] }")],
    "MR003": [python(PLAIN.replace("8", '"8"')), python(PLAIN + "name: m"), python(PLAIN.replace("8", "8.0"))],
    "MR004": [python(PLAIN.replace("TYPE_FP32", "FP32")), python(PLAIN.replace("TYPE_FP32", '"TYPE_FP32"'))],
    "MR005": [python(PLAIN.replace("8", "4294967296")), python(PLAIN + "dynamic_batching { priority_levels: -1 }")],
    "MR006": [python(PLAIN + "max_batch_size: 4"), python(PLAIN + "optimization { } optimization { }")],
    "MR007": [python(batching("") + "sequence_batching { }")],
    "MR008": [
        python(PLAIN + "model_metrics { }"),
        {
            "m": ensemble(step("part") + " max_inflight_requests: 2"),
            "part": python(PLAIN),
        },
    ],
    "MR101": [{"config.pbtxt": "max_batch_size: 8", "1/other.bin": ""}, {"1/.keep": ""}],
    "MR102": [
        {"config.pbtxt": PLAIN},
        python(PLAIN + "version_policy { specific { versions: [ 2 ] } }"),
        python(PLAIN + "version_policy { latest { num_versions: 0 } }"),
        {"m": {"config.pbtxt": ensemble(step("part"))["config.pbtxt"]}, "part": python(PLAIN)},
    ],
    "MR103": [
        {"config.pbtxt": ONNX, "1/.keep": ""},
        {"config.pbtxt": PLAIN, "1/main.py": CODE},
        {"config.pbtxt": PLAN + 'cc_model_filenames { key: "9.0" value: "model.sm90.plan" }', "1/model.plan": ""},
        {"config.pbtxt": PLAIN + "version_policy { all { } }", "1/model.py": CODE, "2/.keep": ""},
    ],
    "MR104": [python(PLAIN, **{"v2/model.py": CODE}), python(PLAIN, **{"02/model.py": CODE})],
    "MR105": [python(PLAIN + "version_policy { specific { versions: [ 1, 3 ] } }")],
    "MR106": [python(PLAIN + 'name: "other"')],
    "MR107": [{"config.pbtext": PLAIN, "1/model.py": CODE}],
    "MR108": [
        python(PLAIN.replace("backend", "platform")),
        python(PLAIN.replace('backend: "python"', 'platform: "x"')),
    ],
    "MR109": [
        {**onnx(ONNX + 'backend: "tensorrt"'), "1/model.plan": b""},
        {
            "m": {**ensemble(step("part"), more='backend: "python"\n'), "1/model.py": CODE},
            "part": python(PLAIN),
        },
    ],
    "MR110": [
        {"config.pbtxt": PLAIN, "1.5/model.py": CODE},
        {"config.pbtxt": PLAIN, "-1/model.py": CODE},
        python(PLAIN, **{"9223372036854775808/model.py": CODE}),
        python(PLAIN, **{"2_old/model.py": CODE}),
    ],
    "MR111": [python(PLAIN + f'runtime: "{runtime}"') for runtime in ("model.py", "absent.so", "../1/model.py")],
    "MR201": [python(PLAIN.replace('name: "x"', ""))],
    "MR202": [python(PLAIN.replace("data_type: TYPE_FP32", "", 1)), python(PLAIN.replace("TYPE_FP32", "0", 1))],
    "MR203": [python(PLAIN.replace("dims: [ 4 ]", "", 1)), python(PLAIN.replace("[ 4 ]", "[ ]", 1))],
    "MR204": [python(PLAIN.replace("[ 4 ]", "[ 0 ]", 1)), python(PLAIN.replace("[ 4 ]", "[ -2 ]", 1))],
    "MR205": [python(PLAIN.replace("[ 4 ]", "[ 4 ] reshape { shape: [ 0 ] }", 1))],
    "MR206": [
        python(PLAIN.replace("[ 4 ]", f"{dims} reshape {{ shape: {shape} }}", 1))
        for dims, shape in (("[ 4 ]", "[ 5 ]"), ("[ -1 ]", "[ 4 ]"), ("[ 4, -1 ]", "[ -1, 4 ]"), ("[ 4 ]", "[ ]"))
    ],
    "MR207": [python(PLAIN.replace("8", "0").replace("[ 4 ]", "[ 1 ] reshape { shape: [ ] }", 1))],
    "MR208": [python(PLAIN.replace("dims: [ 4 ]", "dims: [ 4 ] format: FORMAT_NCHW", 1))],
    "MR209": [
        python(PLAIN.replace("[ 4 ]", "[ 4 ] is_shape_tensor: true", 1)),
        plan(PLAN.replace("[ 4 ]", "[ 4 ] is_non_linear_format_io: true", 1)),
    ],
    "MR210": [python(PLAIN + IN), python(PLAIN + OUT)],
    "MR211": [python(PLAIN.replace("8", "-1"))],
    "MR212": [
        python(PLAIN + "batch_input { data_type: TYPE_INT32 }"),
        python(PLAIN + 'batch_input { data_type: TYPE_INT64 source_input: "x" }'),
        python(PLAIN + 'batch_input { data_type: TYPE_INT32 source_input: "q" }'),
        python(PLAIN + 'batch_output { target_name: "q" source_input: "x" }'),
        python(PLAIN + 'batch_output { source_input: "x" }'),
        python(PLAIN + 'batch_output { target_name: [ "y", "y" ] source_input: "x" }'),
    ],
    "MR301": [{"config.pbtxt": ONNX, "1/model.onnx": content} for content in (b"", b"hello", b"version https://git")],
    "MR302": [onnx(ONNX + OUT.replace('"y"', '"scores"')), onnx(ONNX + IN.replace('"x"', '"pixels"'))],
    "MR303": [sum_onnx(ONNX)],
    "MR304": [onnx(ONNX.replace("TYPE_FP32", "TYPE_INT64", 1))],
    "MR305": [
        onnx(ONNX.replace("[ 4 ]", "[ 5 ]", 1)),
        onnx(ONNX.replace("[ 4 ]", "[ 4, 1 ]", 1)),
        onnx(ONNX.replace(OUT, OUT.replace("4", "-1"))),
        onnx(ONNX.replace("max_batch_size: 8", "max_batch_size: 0")),
    ],
    "MR306": [onnx(ONNX, 8, 4), onnx(OPENVINO + 'default_model_filename: "model.onnx"', 8, 4)],
    "MR307": [
        onnx(FLAT.replace("[ -1, 4 ]", "[ -1, 4 ] optional: true", 1)),
        onnx(ONNX.replace("[ 4 ]", "[ 4 ] optional: true", 1)),
        sum_onnx(FLAT + EXTRA, has_default=True),
    ],
    "MR308": [
        onnx(ONNX + f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}')
        for key, value in (("intra_op_thread_count", "two"), ("execution_mode", "2"), ("enable_mem_arena", "yes"))
    ],
    "MR309": [
        plan(PLAN.replace("8", "16")),
        plan(PLAN.replace("[ 4 ]", "[ 5 ]", 1)),
        plan(PLAN.replace("[ 4 ]", "[ 4, 4 ]", 1)),
        plan(PLAN + IN.replace('"x"', '"q"')),
    ],
    "MR310": [python(PLAIN, "def broken(:\n"), python(PLAIN, "model = 1\n")],
    "MR311": [
        python(PLAIN, completing("config.set_max_batch_size(4)")),
        python(PLAIN, completing("pass", returned="None")),
        python("backend: 'python'", completing("config.add_input({'name': 'x', 'dims': [4]})")),
    ],
    "MR312": [python(PLAIN, completing("config.add_output({'name': 'z', 'data_type': 'FP32', 'dims': [4]})"))],
    "MR313": [
        openvino(OPENVINO + f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}')
        for key, value in (
            ("INFERENCE_NUM_THREADS", "-1"),
            ("NUM_STREAMS", "all"),
            ("HINT_BF16", "no"),
            ("PERFORMANCE_HINT", "FAST"),
            ("RESHAPE_IO_LAYERS", "true"),
            ("TARGET_DEVICE", "GPU"),
        )
    ],
    "MR314": [
        {"config.pbtxt": OPENVINO, "1/model.xml": "<net/>"},
        {"config.pbtxt": OPENVINO, "1/model.xml": "<net>", "1/model.bin": b""},
        {"config.pbtxt": OPENVINO, "1/model.xml": "<nett/>", "1/model.bin": b""},
    ],
    "MR315": [
        {**onnx(ONNX), "1/model.engines.json": text}
        for text in (
            "",
            "{",
            '["openvino"]',
            '{"x86": "openvino"}',
            '{"x86": {"engine": "tensorrt", "file": "model.onnx"}}',
            '{"x86": {"engine": "openvino", "file": "/model.onnx"}}',
            '{"otherwise": {"engine": "onnxruntime", "file": "../../absent/1/model.onnx"}}',
        )
    ],
    "MR316": [
        {**onnx(ONNX), "1/model.engines.json": text}
        for text in (
            '{"another kind": {"engine": "openvino", "file": "model.x86.onnx"}}',
            f'{{"{this_cpu()}": {{"engine": "onnxruntime", "file": "model.onnx"}}, '
            '"otherwise": {"engine": "onnxruntime", "file": "../../absent/1/model.onnx"}}',
        )
    ],
    "MR401": [
        python(batching("preferred_batch_size: [ 16 ] max_queue_delay_microseconds: 100")),
        python(PLAIN + sequence("oldest { preferred_batch_size: [ 0 ] }")),
    ],
    "MR402": [
        python(batching("priority_levels: 2")),
        python(batching("priority_levels: 2 default_priority_level: 3")),
    ],
    "MR403": [
        python(batching("priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 value { } }"))
    ],
    "MR404": [python(batching("preserve_ordering: true priority_levels: 2 default_priority_level: 1"))],
    "MR405": [
        python(
            batching(
                "preserve_ordering: true "
                "default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 1000 }"
            )
        )
    ],
    "MR406": [
        python(config + 'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "/no/such.so" } }')
        for config in (PLAIN, PLAIN + sequence(""))
    ],
    "MR411": [python(controls("")), python(controls(START, 'name: "S"'))],
    "MR412": [python(controls(START, START.replace('"S"', '"T"')))],
    "MR413": [
        python(controls('name: "S" control { kind: CONTROL_SEQUENCE_END }')),
        python(controls('name: "S" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0 ] }')),
        python(controls(START.replace("fp32", "bool_false_true: [ false, true ] fp32"))),
    ],
    "MR414": [
        python(controls(IDS % "")),
        python(controls(IDS % "data_type: TYPE_FP32")),
        python(controls(IDS % "data_type: TYPE_UINT64 int32_false_true: [ 0, 1 ]")),
    ],
    "MR415": [python(PLAIN + sequence("direct { minimum_slot_utilization: 1.5 }"))],
    "MR416": [
        python(PLAIN + sequence(state(initial)))
        for initial in (
            'initial_state { name: "n" data_type: TYPE_FP32 dims: [ 2 ] }',
            "initial_state { data_type: TYPE_FP32 dims: [ 2 ] zero_data: true }",
            'initial_state { name: "n" data_type: TYPE_FP16 dims: [ 2 ] zero_data: true }',
            'initial_state { name: "n" data_type: TYPE_FP32 dims: [ 3 ] zero_data: true }',
        )
    ],
    "MR417": [
        python(
            PLAIN + sequence(state('initial_state { name: "n" data_type: TYPE_FP32 dims: [ 2 ] data_file: "f" }')),
            **files,
        )
        for files in ({}, {"initial_state/f": b"1234"})
    ],
    "MR418": [python(PLAIN + sequence(state("") + state("").replace('"o"', '"p"')))],
    "MR501": [
        {"config.pbtxt": 'platform: "ensemble"', "1/.keep": ""},
        {"m": python(PLAIN + "ensemble_scheduling { " + step("part") + " }"), "part": python(PLAIN)},
    ],
    "MR502": [
        {"m": ensemble(step("part"), more=more), "part": python(PLAIN)}
        for more in ("instance_group { count: 1 }\n", "optimization { }\n", 'model_warmup { name: "w" }\n')
    ],
    "MR503": [
        ensemble(),
        ensemble('step { input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } }'),
        ensemble('step { model_name: "m" output_map { key: "y" value: "y" } }'),
    ],
    "MR504": [{"m": ensemble(step("part"), step("part")), "part": python(PLAIN)}],
    "MR505": [{"m": ensemble(step("part"), tensors=IN + OUT + IN.replace("x", "q")), "part": python(PLAIN)}],
    "MR506": [
        {"m": ensemble(step("part", "x=q"), tensors=OUT), "part": python(PLAIN)},
        {"m": ensemble(step("part", "x=b", "y=a"), step("part", "x=a", "y=b"), tensors=""), "part": python(PLAIN)},
    ],
    "MR507": [{"m": ensemble(step("part"), step("part", outputs="y=unused")), "part": python(PLAIN)}],
    "MR511": [ensemble(step("nowhere"))],
    "MR512": [{"m": ensemble(step("part", version=2)), "part": python(PLAIN)}],
    "MR513": [
        {"m": ensemble(step("part", "x=x q=x")), "part": python(PLAIN)},
        {
            "m": ensemble(step("part", outputs="y=y q=z"), tensors=IN + OUT + OUT_Z),
            "part": python(PLAIN),
        },
    ],
    "MR514": [{"m": ensemble(step("part")), "part": python(PLAIN + IN.replace("x", "q"))}],
    "MR515": [{"m": ensemble(step("part")), "part": python(PLAIN.replace("FP32", "FP16", 1))}],
    "MR516": [
        {"m": ensemble(step("part")), "part": python(PLAIN.replace("4", "5", 1))},
        {"m": ensemble(step("part")), "part": onnx(ONNX.replace(IN + OUT, ""), "n", 5)},
    ],
    "MR517": [{"m": ensemble(step("part")), "part": python(PLAIN.replace("8", "4"))}],
    "MR518": [{"m": ensemble(step("n")), "n": ensemble(step("m"))}, ensemble(step("m"))],
    "MR519": [{"m": ensemble(step("part", outputs="y=z"), step("sum", "a=x b=z")), "part": DECOUPLED, "sum": SUM}],
    "MR521": [
        {
            "m": ensemble(step("part"), step("plain", outputs="y=z"), tensors=IN + OUT + OUT_Z),
            **SIDE,
        },
    ],
    "MR520": [{"m": ensemble(step("part")), "part": python(PLAIN.replace("8", "0"))}],
    "MR601": [python(PLAIN.replace("[ 4 ]", "[ -1 ]", 1) + warmed(given(dims="[ -1 ]")))],
    "MR602": [python(PLAIN + warmed(given(source="")))],
    "MR603": [
        python(PLAIN + warmed(given(source='input_data_file: "f"')), **files) for files in ({}, {"warmup/f": b"1234"})
    ],
    "MR604": [
        *(python(PLAIN + warmed(inputs)) for inputs in ("", given(data_type="FP64"), given(dims="[ 5 ]"))),
        onnx(ONNX + warmed(given() + given("q"))),
    ],
    "MR605": [python(PLAIN + warmed(given() + given("q")))],
    "MR606": [python(PLAIN + warmed(given(), "")), python(PLAIN + warmed(given(), "batch_size: 0"))],
    "MR607": [python(PLAIN + warmed(given(), "batch_size: 9"))],
    "MR701": [
        python(PLAIN + f"instance_group {{ kind: {kind} gpus: [ 0, 1 ] }}") for kind in ("KIND_CPU", "KIND_MODEL")
    ],
    "MR702": [python(PLAIN + 'instance_group { kind: KIND_CPU profile: "0" }')],
    "MR703": [plan(PLAN + f'instance_group {{ profile: "{profile}" }}') for profile in ("-1", "max", "")],
    "MR704": [python(PLAIN + "instance_group { kind: 7 }")],
    "MR705": [python(PLAIN + "instance_group { kind: KIND_CPU passive: true }")],
    "MR706": [
        python(PLAIN + 'instance_group { rate_limiter { resources [ { name: "R" }, { name: "R" global: true } ] } }')
    ],
    "MR707": [python(PLAIN + "instance_group { kind: KIND_GPU gpus: [ 0, -1 ] }")],
    "MR801": [
        python(PLAIN + 2 * 'parameters { key: "k" value { string_value: "v" } } '),
        {"m": ensemble(step("part", "x=x x=x")), "part": python(PLAIN)},
    ],
    "MR802": [python(LABELLED)],
    "MR803": [python(LABELLED, **{"labels.txt": "one\ntwo\nthree"})],
    "MR804": [
        python(PLAIN + f"response_cache {{ enable: true }} {more}")
        for more in ("sequence_batching { }", "model_transaction_policy { decoupled: true }")
    ],
    "MR806": [python(PLAIN + 'parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "true" } }')],
    "MR807": [
        python(PLAIN + f'parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "{folder}/env.tar.gz" }} }}')
        for folder in ("$$TRITON_MODEL_DIRECTORY", "/no/such")
    ],
    "MR808": [python(PLAIN + 'metric_tags { key: "a b" value: "c" }')],
    "MR809": [python(PLAIN + f"model_repository_agents {{ {agents} }}") for agents in ("", 'agents { name: "" }')],
    "MR810": [
        onnx(ONNX + f'model_operations {{ op_library_filename: "{name}" }}') for name in ("absent.so", "/no/such.so")
    ],
    "MR901": [python(alone("priority_levels: 2 default_priority_level: 1"))],
    "MR902": [python(alone("")), python(alone("max_queue_delay_microseconds: 100"))],
    "MR903": [python(batching("preferred_batch_size: [ 4, 8 ]"))],
    "MR904": [python(batching("").replace("FP32 dims: [ 4 ]", "INT64 dims: [ -1 ]", 1))],
    "MR905": [
        python(batching("max_queue_delay_microseconds: 500 default_queue_policy { default_timeout_microseconds: 100 }"))
    ],
}
# Only a later server reads the fields in question.
BAD_LATER: Mapping[str, Sequence[Files]] = {
    "MR805": [
        python(PLAIN + f"model_metrics {{ metric_control {{ {control} }} }}")
        for control in (
            "histogram_options { buckets: [ 1 ] }",
            'metric_identifier { family: "f" }',
            'metric_identifier { family: "f" } histogram_options { }',
        )
    ],
}
GOOD: Mapping[str, Files | Models] = {
    "python": python(PLAIN),
    "onnx": onnx(ONNX),
    "onnx without tensors": onnx(ONNX.replace(IN + OUT, "")),
    "plan": plan(PLAN),
    "default left out": sum_onnx(FLAT, has_default=True),
    "default used": sum_onnx(FLAT + EXTRA.replace("}", "optional: true }"), has_default=True),
    "no config": {"1/model.py": CODE},
    "labels": python(LABELLED, **{"labels.txt": "a\nb\nc\nd"}),
    "a folder beside the versions": python(PLAIN, **{"assets/vocabulary.txt": "", "1_old/model.py": ""}),
    "version 0": {"config.pbtxt": PLAIN, "0/model.py": CODE},
    "a slash in front": python(
        LABELLED.replace('"labels', '"/labels') + warmed(given(source='input_data_file: "/f"')),
        **{"labels.txt": "a\nb\nc\nd", "warmup/f": bytes(16)},
    ),
    "ensemble whose version folder is misread": {
        "m": {"config.pbtxt": ensemble(step("part"))["config.pbtxt"], "1a/.keep": ""},
        "part": python(PLAIN),
    },
    "batches of one of a step without any": {
        "m": {k: v.replace("8", "1") for k, v in ensemble(step("part")).items()},
        "part": python(PLAIN.replace("8", "0")),
    },
    "runtime of its own": python(PLAIN + 'runtime: "mine.so"', **{"mine.so": ""}),
    "warm-up": python(
        PLAIN + warmed(given()) + warmed(given(source='input_data_file: "f"')), **{"warmup/f": bytes(16)}
    ),
    "reshape": python(PLAIN.replace("[ 4 ]", "[ 2, -1, 2 ] reshape { shape: [ 2, -1, 1, 2 ] }", 1)),
    "padded text": python(
        batching("max_queue_delay_microseconds: 500").replace("FP32 dims: [ 4 ]", "INT64 dims: [ -1 ]", 1)
        + warmed(given(data_type="INT64", dims="[ 16 ]"))
    ),
    "queue policies without batches": python(alone("default_queue_policy { max_queue_size: 4 }")),
    "chain": {"m": ensemble(step("part", outputs="y=z"), step("part", "x=z")), "part": python(PLAIN)},
    "step without a batch": {
        "m": ensemble(step("part")),
        "part": python(PLAIN.replace("8", "0").replace("[ 4 ]", "[ -1, 4 ]")),
    },
    "step that completes itself": {
        "m": ensemble(step("part")),
        "part": python('backend: "python"', completing("helper.complete(config)")),
    },
    "step that its file completes": {
        "m": ensemble(step("part")),
        "part": onnx(ONNX.replace(IN + OUT, "")),
    },
    "paired outputs of one decoupled model": {
        "m": ensemble(step("part", outputs="y=z"), step("sum", "a=z b=z")),
        "part": DECOUPLED,
        "sum": SUM,
    },
}


def models_of(case: Files | Models) -> Models:
    """A case of one model is that of "m"."""
    return {"m": case} if not any(isinstance(files, Mapping) for files in case.values()) else case  # type: ignore[dict-item,return-value]


def bad_cases() -> Iterator[tuple[str, Models, str]]:
    """The code, the models and the server's version."""
    for triton, table in (("2.51", BAD), ("2.65", BAD_LATER)):
        for code, cases in table.items():
            for case in cases:
                yield code, models_of(case), triton
