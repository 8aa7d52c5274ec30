"""Mutations of the code that completes a Python model's config: what the server refuses of it, and what it drops."""

from __future__ import annotations

from collections.abc import Mapping

from ai102.agreement.mutations import configs
from ai102.agreement.mutations.configs import BATCHED, IN, ONE_INSTANCE, OUT, PYTHON, step
from ai102.agreement.mutations.edits import CONFIG, Edit, Kind, add, both, drop, kind, put
from ai102.agreement.mutations.seeds import completing
from ai102.agreement.mutations.steps import head, of_one, steps

X = '{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}'
Y = '{"name": "y", "data_type": "TYPE_FP32", "dims": [4]}'
BOTH = f"config.add_input({X})\nconfig.add_output({Y})\n"


def code(body: str, returned: str = "config", head: str = "", top: str = "") -> Edit:
    """The code of version 1, with an auto_complete_config of these lines."""
    return put("1/model.py", completing(body, returned, head, top))


def tensor(**changed: str) -> Edit:
    """add_input of "x" with other values, each as Python writes it; an empty one leaves its key out."""
    values = {"name": '"x"', "data_type": '"TYPE_FP32"', "dims": "[4]"} | changed
    inner = ", ".join(f'"{key}": {value}' for key, value in values.items() if value)
    return code(f"config.add_input({{{inner}}})\nconfig.add_output({Y})")


def calls(*lines: str) -> list[Edit]:
    return [code(line) for line in lines]


def batch_sizes(*values: str) -> list[Edit]:
    return calls(*(f"config.set_max_batch_size({value})" for value in values))


def policies(*values: str) -> list[Edit]:
    return calls(*(f"config.set_model_transaction_policy({value})" for value in values))


def written(text: str) -> Edit:
    """Another config.pbtxt."""
    return put(CONFIG, PYTHON + text)


BARE = "bare plain"
NO_DIMS = IN.replace("  dims: [ 4 ]\n", "")
NO_TYPE = IN.replace("  data_type: TYPE_FP32\n", "")
TO_MIDDLE = step("part_completed", {"x": "x"}, {"y": "middle"})
DECOUPLED = step("part_completed_decoupled", {"x": "x"}, {"y": "middle"})
OUT_Z = OUT.replace('"y"', '"z"')
TWO_OUTPUTS = configs.ENSEMBLE_HEAD + BATCHED + IN + OUT + OUT_Z
KINDS: Mapping[str, Kind] = {
    "completed_tensor_without_a_key": kind(
        BARE, tensor(name=""), tensor(data_type=""), tensor(dims=""), *calls("config.add_output({})"), most=8
    ),
    "completed_tensor_with_another_key": kind(
        BARE,
        tensor(optional="True"),
        tensor(optional="False"),
        tensor(format='"FORMAT_NCHW"'),
        tensor(reshape='{"shape": [4]}'),
        *calls(
            f"config.add_output({{**{Y}, 'optional': False}})", f"config.add_output({{**{Y}, 'label_filename': ''}})"
        ),
        most=12,
    ),
    "completed_tensor_unlike_the_config": kind(
        "plain onnx",
        tensor(dims="[5]"),
        tensor(dims="[-1]"),
        tensor(dims="(4,)"),
        tensor(dims="[4, 1]"),
        tensor(dims="[]"),
        tensor(data_type='"TYPE_INT32"'),
        tensor(data_type='"FP32"'),
        tensor(name='"other"'),
        *calls(f"config.add_output({Y.replace('[4]', '[5]')})", f"config.add_output({Y.replace('FP32', 'FP16')})"),
        most=12,
    ),
    "completed_data_type": kind(
        "bare",
        *(tensor(data_type=value) for value in ('"FP32"', '"TYPE_FLOAT"', '"TYPE_INVALID"', '"type_fp32"', '""')),
        *(
            tensor(data_type=value)
            for value in ("11", "99", "None", "11.0", '"11"', "True", '["TYPE_FP32"]', '"TYPE_BF16"')
        ),
        most=14,
    ),
    "completed_dims": kind(
        "bare",
        *(tensor(dims=value) for value in ("[0]", "[]", "[-1]", "[-2]", '["4"]', '"4"', "4", "[4.0]", "[4.5]", "None")),
        *(tensor(dims=value) for value in ("[True]", "[[4]]", "(4,)", "{4}", "[2**63]", "range(1, 3)", "[None]", "{}")),
        most=18,
    ),
    "completed_name": kind(
        "bare", *(tensor(name=value) for value in ('""', "None", "3", '"a b"', "True", "[]", "'x' * 300")), most=8
    ),
    "completed_optional": kind(
        "bare", *(tensor(optional=value) for value in ('"yes"', '"no"', "0", "1", "None", "True")), most=6
    ),
    "completed_batch_size": kind(
        BARE, *batch_sizes("8", "0", "-1", "4", "16", "'8'", "True", "8.0", "8.5", "2**40", "None", "", "8, 8"), most=26
    ),
    "completed_schedule": kind(
        "bare plain batching sequence priorities",
        *calls("config.set_dynamic_batching()", "config.set_dynamic_batching(True)"),
        *calls("config.set_dynamic_batching()\nconfig.set_max_batch_size(8)"),
        most=14,
    ),
    "completed_policy": kind(
        "bare plain settings",
        *policies("{'decoupled': True}", "{'decoupled': False}", "{}", "{'other': True}", "True", "None"),
        *policies("{'decoupled': 'True'}", "{'decoupled': 1}", "{'decoupled': True, 'other': 1}", ""),
        most=22,
    ),
    "completed_twice": kind(
        BARE,
        code(BOTH + BOTH),
        code(BOTH + BOTH.replace("[4]", "[5]")),
        code(BOTH + f"config.add_input({{**{X}, 'optional': True}})\n" * 2),
        code(f"x = {X}\nconfig.add_input(x)\nx['dims'] = [5]\nconfig.add_input(x)"),
        *batch_sizes("4)\nconfig.set_max_batch_size(8", "16)\nconfig.set_max_batch_size(8"),
        most=12,
    ),
    "config_that_the_code_completes": kind(
        "bare",
        both(written(NO_DIMS + OUT), code(BOTH)),
        both(written(NO_TYPE + OUT), code(BOTH)),
        both(written('input { name: "x" }\noutput { name: "y" }\n'), code(BOTH)),
        both(written(NO_DIMS + OUT), code("pass")),
        both(written(NO_DIMS.replace("}", "  reshape { shape: [ 5 ] }\n}")), code(BOTH)),
        both(written(NO_DIMS.replace("}", "  reshape { shape: [ 2, 2 ] }\n}")), code(BOTH)),
        both(written(NO_DIMS.replace("}", "  format: FORMAT_NCHW\n}")), code(BOTH)),
        both(written("dynamic_batching { preferred_batch_size: 4 }\n"), code("config.set_max_batch_size(8)")),
        both(written("max_batch_size: -1\n"), code("config.set_max_batch_size(8)")),
        both(written("response_cache { enable: true }\n"), *policies("{'decoupled': True}")),
        both(written(BATCHED + ONE_INSTANCE), code(BOTH + "config.set_max_batch_size(9)")),
        most=12,
    ),
    "model_that_only_its_code_describes": kind(
        "bare",
        *(both(drop(CONFIG), edit) for edit in (code(BOTH), tensor(dims="[0]"), tensor(dims=""), code("raise X"))),
    ),
    "what_the_completion_returns": kind(
        BARE,
        *(
            code(BOTH, value)
            for value in ("None", "config.as_dict()", "{}", "'config'", "[config]", "(config)", "[config][0]")
        ),
        code("if config.as_dict()['max_batch_size'] < 4:\n    return config", "None"),
        most=16,
    ),
    "parameters_of_the_completion": kind(
        "plain",
        *(
            code("pass", head=f"{text}:")
            for text in ("def auto_complete_config(self, config)", "def auto_complete_config(config)")
        ),
        code("pass", head="@classmethod\n    def auto_complete_config(cls, config):"),
        code("pass", head="@classmethod\n    def auto_complete_config(config):"),
        code("pass", head="@staticmethod\n    def auto_complete_config(config, more=1):"),
        code("pass", head="@staticmethod\n    def auto_complete_config(config, *, more):"),
        code("pass", "None", head="@staticmethod\n    def auto_complete_config():"),
        most=8,
    ),
    "completion_that_fails": kind(
        "plain",
        *calls("raise ValueError('no')", "assert False", "config.add_tensor({})", "config.add_input('x')"),
        *calls("config.add_input(None)", "config.add_input([])", "config.add_input()", "config.add_input(1)"),
        code("pass", top="raise ValueError('no')\n"),
        code("pass", top="if 1 > 2:\n    raise ValueError('no')\n"),
        code(
            "check(config)",
            top="def check(config):\n    if config.as_dict()['max_batch_size'] > 4:\n        raise ValueError\n",
        ),
        most=14,
    ),
    "completion_by_constants": kind(
        BARE,
        code(
            "for name, add in (('x', config.add_input), ('y', config.add_output)):\n    add(tensor(name))",
            top=(
                "SIZES = {'x': 4, 'y': 4}\ndef tensor(name):\n"
                "    return dict(name=name, data_type='TYPE_' + 'FP32', dims=[SIZES[name]])\n"
            ),
        ),
        code(f"for place in range(3):\n    config.add_input({{**{X}, 'name': f'x{{place}}', 'dims': [place]}})"),
        code(
            "names = [each['name'] for each in config.as_dict()['input']]\nif 'x' not in names:\n"
            "    config.add_input({'name': 'x', 'data_type': 'TYPE_FP32', 'dims': [0]})"
        ),
        code(
            "names = {each['name']: each for each in config.as_dict()['output']}\nif 'y' in names:\n"
            "    config.set_max_batch_size(min(4, len(names)))"
        ),
        code("size = 2 ** 3\nwhile size > 4:\n    size -= 1\nconfig.set_max_batch_size(size)"),
        most=12,
    ),
    "completion_by_hand": kind(
        "plain",
        *calls(
            "config.as_dict()['max_batch_size'] = -3",
            "config.as_dict()['max_batch_size'] = 4",
            "config.as_dict()['input'][0]['dims'] = [5]",
            "config.as_dict()['input'][0]['format'] = 'FORMAT_NCHW'",
            "config.as_dict()['input'][0]['other'] = 3",
            "config.as_dict()['output'] = []",
            "del config.as_dict()['output']",
            "config.as_dict()['name'] = 'other'",
            "config.as_dict()['instance_group'] = [{'kind': 'KIND_CPU', 'gpus': [1]}]",
            "config.as_dict()['other'] = {1: 2}",
            "config.as_dict()['other'] = {1}",
            "config._model_config['input'].append({'name': 'x', 'data_type': 'TYPE_INT8', 'dims': [0]})",
        ),
        most=14,
    ),
    "completion_that_only_a_run_shows": kind(
        "plain",
        code("if os.environ.get('NO_SUCH_VARIABLE'):\n    config.set_max_batch_size(4)", top="import os\n"),
        code("size = int(os.environ.get('NO_SUCH_VARIABLE', '8'))\nconfig.set_max_batch_size(size)", top="import os\n"),
        code("try:\n    config.set_max_batch_size(4)\nexcept ValueError:\n    pass"),
        code("for size in sorted({8, 16}, key=lambda size: size):\n    config.set_max_batch_size(size)"),
        code(
            "sizes = [4]\nchange(sizes)\nconfig.set_max_batch_size(sizes[0])",
            top="import random\ndef change(sizes, other=random.random):\n    sizes[0] = 16\n",
        ),
        code(
            "sizes = [4, 4]\nheapq.heappush(sizes, 4)\nsizes.append(16)\nconfig.set_max_batch_size(max(sizes))",
            top="import heapq\n",
        ),
        most=8,
    ),
    "completed_step_of_an_ensemble": kind(
        "chain",
        of_one("part_completed"),
        of_one("part_completed", x="z"),
        of_one("part_completed", y="z"),
        of_one("part_completed", head=head("INT64 [ 4 ]")),
        of_one("part_completed", head=head("FP32 [ 5 ]")),
        of_one("part_completed", head=head(batch=16)),
        of_one("part_completed", head=head(batch=4)),
        steps(TO_MIDDLE, step("part_completed", {"x": "middle"}, {"y": "y"})),
        most=8,
    ),
    "branches_of_a_decoupled_model": kind(
        "chain",
        *(
            steps(step(model, {"x": "x"}, {"y": "middle"}), *others, of=of)
            for model in ("part_decoupled", "part_completed_decoupled")
            for of, others in (
                (None, [step("part_double", {"x": "middle"}, {"y": "y"})]),
                (None, [step("part_sum", {"a": "x", "b": "middle"}, {"y": "y"})]),
                (None, [step("part_sum", {"a": "middle", "b": "middle"}, {"y": "y"})]),
                (TWO_OUTPUTS, [step("part_double", {"x": "middle"}, {"y": output}) for output in ("y", "z")]),
                (
                    TWO_OUTPUTS,
                    [step("part_double", {"x": source}, {"y": to}) for source, to in (("x", "y"), ("middle", "z"))],
                ),
                (TWO_OUTPUTS, [step("part_decoupled", {"x": "middle"}, {"y": to}) for to in ("y", "z")]),
                (
                    TWO_OUTPUTS,
                    [step("part_decoupled", {"x": "middle"}, {"y": "y"}), step("part_double", {"x": "y"}, {"y": "z"})],
                ),
            )
        ),
        steps(
            step("part_inner_decoupled", {"x": "x"}, {"y": "y"}),
            step("part_double", {"x": "x"}, {"y": "z"}),
            of=TWO_OUTPUTS,
        ),
        steps(step("part_inner_decoupled", {"x": "x"}, {"y": "m"}), step("part_sum", {"a": "m", "b": "x"}, {"y": "y"})),
        steps(step("part_inner_decoupled", {"x": "x"}, {"y": "m"}), step("part_sum", {"a": "m", "b": "m"}, {"y": "y"})),
        steps(step("part_inner", {"x": "x"}, {"y": "y"}), step("part_double", {"x": "x"}, {"y": "z"}), of=TWO_OUTPUTS),
        both(of_one("part_inner_decoupled"), add("model_transaction_policy { decoupled: false }")),
        most=24,
    ),
}
