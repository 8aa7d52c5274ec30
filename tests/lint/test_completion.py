"""What `auto_complete_config` of a Python model makes of its config, read and not run.

What tritonserver 2.51 answers to such code is compared in `ai102.agreement`; here is what the linter says, and where.
"""

from pathlib import Path

import pytest
from google.protobuf import text_format

from ai102.lint import lint
from ai102.lint.completion import completion
from ai102.lint.pbtxt import parse
from tests.e2e.conftest import write_repository

from .bad_models import IN, OUT, PLAIN, completing, ensemble, python, step

BARE = 'backend: "python"\n'
X = '{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}'
REFUSED = {
    "a batch size is lowered": ("config.set_max_batch_size(4)", "max_batch_size is 8 in the config"),
    "a batch size of text": ("config.set_max_batch_size('8')", "set_max_batch_size raises TypeError"),
    "no name": ("config.add_input({'data_type': 'TYPE_FP32', 'dims': [4]})", "has no 'name'"),
    "no data type": ("config.add_input({'name': 'x', 'dims': [4]})", "'x' has no 'data_type'"),
    "no dims": ("config.add_output({'name': 'y', 'data_type': 'TYPE_FP32'})", "'y' has no 'dims'"),
    "an unknown key": (f"config.add_input({{**{X}, 'format': 'NCHW'}})", "'x' has the key 'format'"),
    "optional output": (f"config.add_output({{**{X}, 'optional': True}})", "'x' has the key 'optional'"),
    "other dims": (f"config.add_input({{**{X}, 'dims': [5]}})", "has dims [5], where [4] is set already"),
    "dims as a tuple": (f"config.add_input({{**{X}, 'dims': (4,)}})", "has dims (4,), where [4] is set already"),
    "other type": (f"config.add_input({{**{X}, 'data_type': 'TYPE_INT8'}})", "has data_type 'TYPE_INT8'"),
    "now optional": (f"config.add_input({{**{X}, 'optional': True}})", "has optional True"),
    "no method": ("config.add_tensor({})", "pb_utils.ModelConfig has no add_tensor"),
    "policy of another key": ("config.set_model_transaction_policy({'fast': True})", "has the key 'fast'"),
    "policy as a number": ("config.set_model_transaction_policy({'decoupled': 1})", "which ends the server"),
    "an error": ("raise ValueError('no')", "the code raises ValueError('no')"),
    "a helper's error": ("TritonPythonModel.check(config)", "the code raises ValueError"),
    "a set": ("config.as_dict()['parameters']['a'] = {1}", "what JSON has no form for"),
}
HELPER = """    @staticmethod
    def check(config):
        if config.as_dict()['max_batch_size'] == 8:
            raise ValueError
"""


@pytest.mark.parametrize(("body", "words"), REFUSED.values(), ids=REFUSED)
def test_code_that_the_server_refuses_is_an_error_at_its_line(body: str, words: str, tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": python(PLAIN, completing(body) + HELPER)})
    (finding,) = lint(tmp_path)
    assert (finding.path, finding.code) == ("m/1/model.py", "MR311")
    assert words in finding.message
    assert finding.line in (4, 5, 9)


RETURNS = {"nothing": "None", "a dict": "config.as_dict()", "a str": "'config'"}


@pytest.mark.parametrize(("words", "returned"), RETURNS.items())
def test_another_value_than_the_config_is_refused(words: str, returned: str, tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": python(PLAIN, completing("pass", returned))})
    assert [words in finding.message for finding in lint(tmp_path)] == [True]


COMPUTED = {
    "literals": f"config.add_input({X})\nconfig.add_output({{'name': 'y', 'data_type': 'TYPE_FP32', 'dims': [4]}})",
    "local names": f"x = {X}\ny = dict(x)\ny['name'] = 'y'\nconfig.add_input(x)\nconfig.add_output(y)",
    "a module's constants": "config.add_input(TENSORS['x'])\nconfig.add_output(TENSORS['y'])",
    "a helper": "config.add_input(tensor('x'))\nconfig.add_output(tensor('y', size=SIZE))",
    "a loop": "for name, add in [('x', config.add_input), ('y', config.add_output)]:\n    add(tensor(name))",
    "what is missing only": (
        "known = [each['name'] for each in config.as_dict()['input']]\n"
        f"if 'x' not in known:\n    config.add_input({X})\nif not config.as_dict()['output']:\n"
        "    config.add_output(tensor('y'))"
    ),
    "a text with a number": "config.add_input(tensor(f'{\"x\":s}'))\nconfig.add_output(tensor('%s' % 'y'))",
}
TOP = """import logging
import numpy as np
import triton_python_backend_utils as pb_utils
SIZE = 2 ** 2
logging.getLogger(__name__).info(SIZE)
def tensor(name, size=4):
    return {"name": name, "data_type": f"TYPE_FP{8 * 4}", "dims": [size]}
TENSORS = {name: tensor(name) for name in ("x", "y")}
"""


@pytest.mark.parametrize("body", COMPUTED.values(), ids=COMPUTED)
def test_what_constants_decide_is_computed(body: str, tmp_path: Path) -> None:
    code = tmp_path / "model.py"
    code.write_text(TOP + completing(f"config.set_max_batch_size(8)\n{body}"))
    result = completion(code, parse(BARE).config, "m")
    assert result.problem is None
    assert result.config is not None
    assert text_format.MessageToString(result.config) == text_format.MessageToString(
        text_format.Parse('name: "m"\n' + PLAIN, type(result.config)())
    )


UNDECIDED = {
    "an environment variable": "if os.environ.get('BIG'):\n    config.set_max_batch_size(4)",
    "a file": "config.add_input(json.load(open('x.json')))",
    "a function of elsewhere": "helper.complete(config)",
    "a method handed away": "list(map(config.set_max_batch_size, [4]))",
    "a caught error": "try:\n    config.set_max_batch_size(4)\nexcept ValueError:\n    pass",
    "a lambda": "low = lambda: config.set_max_batch_size(4)\nlow()",
    "a loop over a set": "for size in {4, 16}:\n    config.set_max_batch_size(size)",
    "an open loop": "while helper.more():\n    config.set_max_batch_size(4)",
    "an endless loop": "while True:\n    pass",
    "a computation of years": "n = 9\nfor i in range(99):\n    n = n ** n\nconfig.set_max_batch_size(n)",
    "a text of gigabytes": "text = 'x'\nfor i in range(99):\n    text = text + text",
    "a width of gigabytes": "text = f'{1:>9999999999}'\nconfig.add_input(text)",
    "itself": "TritonPythonModel.auto_complete_config(config)",
    "a dims of elsewhere": "config.add_input({'name': 'z', 'data_type': 'TYPE_FP32', 'dims': [helper.size]})",
    "a value that a list shares": "sizes = [4]\nhelper.change(sizes)\nconfig.set_max_batch_size(sizes[0])",
}


@pytest.mark.parametrize("body", UNDECIDED.values(), ids=UNDECIDED)
def test_what_only_a_run_would_show_is_not_judged(body: str, tmp_path: Path) -> None:
    user = ensemble(step("m", inputs="unknown=x"))
    code = "import json, os, helper\n" + completing(body)
    write_repository(tmp_path, {"m": python(PLAIN.replace("dims: [ 4 ]", "", 1), code), "user": user})
    assert lint(tmp_path) == []


def test_a_completed_tensor_is_judged_at_the_line_that_adds_it(tmp_path: Path) -> None:
    body = "config.set_max_batch_size(8)\nconfig.add_input({'name': 'x', 'data_type': 'TYPE_FP32', 'dims': [0]})"
    write_repository(tmp_path, {"m": python(BARE, completing(body))})
    assert [(one.path, one.line, one.code) for one in lint(tmp_path)] == [("m/1/model.py", 5, "MR204")]


def test_a_completed_tensor_is_judged_in_the_ensembles_that_use_it(tmp_path: Path) -> None:
    code = completing(f"config.set_max_batch_size(8)\nconfig.add_input({X})")
    models = {"part": python(BARE + OUT, code), "m": ensemble(step("part", inputs="image=x"))}
    write_repository(tmp_path, models)
    assert [(one.path, one.code) for one in lint(tmp_path)] == [("m/config.pbtxt", code) for code in ("MR513", "MR514")]


def test_each_loaded_version_is_judged(tmp_path: Path) -> None:
    versions = "version_policy { all { } }\n"
    files = python(PLAIN + versions, completing("raise ValueError"), **{"2/model.py": completing("pass")})
    write_repository(tmp_path, {"m": files})
    assert [one.path for one in lint(tmp_path)] == ["m/1/model.py"]


def test_a_model_without_a_config_is_judged_by_its_code(tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": {"1/model.py": completing("config.add_input({'name': 'x', 'dims': [1]})")}})
    assert [one.code for one in lint(tmp_path)] == ["MR311"]


def test_what_the_server_checks_before_the_code_runs_is_judged_too(tmp_path: Path) -> None:
    batching = "dynamic_batching { preferred_batch_size: 8 max_queue_delay_microseconds: 9 }"
    write_repository(tmp_path, {"m": python(BARE + IN + OUT + batching, completing("config.set_max_batch_size(8)"))})
    assert [one.code for one in lint(tmp_path)] == ["MR401"]
