"""Files that no editor wrote: the linter says what is wrong with them, each in a line, and never breaks."""

from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from ai102.agreement.mutations.seeds import SEEDS
from ai102.cli.main import app
from ai102.lint import lint
from ai102.lint.formats import FORMATS
from tests.e2e.conftest import write_repository

from .bad_models import CODE, LABELLED, ONNX, PLAIN, completing, given, python, warmed

DIGITS = "1" * 5000
LONG = "x" * 5000
CONFIGS = {
    "a number of 5,000 digits": f"max_batch_size: {DIGITS}",
    "a negative one": f"max_batch_size: -{DIGITS}",
    "a hexadecimal one": f"max_batch_size: 0x{DIGITS}",
    "an octal one": f"max_batch_size: 0{DIGITS}",
    "an enum of 5,000 digits": f"instance_group {{ kind: {DIGITS} }}",
    "a boolean of 5,000 digits": f"response_cache {{ enable: {DIGITS} }}",
    "a dimension of 5,000 digits": PLAIN.replace("[ 4 ]", f"[ {DIGITS} ]"),
    "an enormous float": "sequence_batching { direct { minimum_slot_utilization: 1e99999 } }",
    "a float of 5,000 digits": f"sequence_batching {{ direct {{ minimum_slot_utilization: {DIGITS}.5e{DIGITS} }} }}",
    "a float that is none": "sequence_batching { direct { minimum_slot_utilization: nan } }",
    "deep nesting": "input { " * 20_000,
    "deep nesting of what is unknown": "a { " * 20_000,
    "deep lists": "input [" * 20_000,
    "NUL bytes": "name: \0\0\0",
    "a NUL byte in a text": 'name: "a\0b"',
    "bytes that are not UTF-8": b'name: "\xff\xfe"',
    "UTF-16": "\ufeffmax_batch_size: 8".encode("utf-16"),
    "an unterminated text": 'name: "abc\n' * 1000,
    "a text of escapes": 'name: "' + "\\" * 5001 + '"',
    "a field's name of 5,000 letters": f"{LONG}: 1",
    "a comment alone": "#" * 100_000,
    "thousands of values": PLAIN + "dynamic_batching { preferred_batch_size: [ " + "9, " * 20_000 + "9 ] }",
    "a version of 5,000 digits": PLAIN + f"version_policy {{ specific {{ versions: {DIGITS} }} }}",
    "a label file of 5,000 letters": LABELLED.replace("labels.txt", LONG),
    "a label file with a NUL byte": LABELLED.replace("labels.txt", "a\\000b"),
    "a model file of 5,000 letters": PLAIN + f'default_model_filename: "{LONG}"',
    "a warm-up file of 5,000 letters": PLAIN + warmed(given(source=f'input_data_file: "{LONG}"')),
    "an environment of 5,000 letters": (
        PLAIN + f'parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "{LONG}" }} }}'
    ),
    "a runtime of 5,000 letters": PLAIN + f'runtime: "{LONG}"',
    "a library of 5,000 letters": ONNX + f'model_operations {{ op_library_filename: "{LONG}" }}',
    "a batching library of 5,000 letters": (
        PLAIN + f'parameters {{ key: "TRITON_BATCH_STRATEGY_PATH" value {{ string_value: "{LONG}" }} }}'
    ),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_hostile_config_is_told_in_short_lines(config: str | bytes, tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": {"config.pbtxt": config, "1/model.py": CODE}})
    findings = lint(tmp_path)
    for finding in findings[:100]:
        lines = FORMATS["text"]([finding], "").splitlines()
        assert len(lines) == 2
        assert len(lines[0].encode()) < 2000


def test_a_number_of_5000_digits_is_one_clear_line(tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": python(PLAIN.replace("8", DIGITS))})
    (finding,) = lint(tmp_path)
    assert (finding.code, finding.advice) == ("MR005", "write a number in that range")
    assert "...(5000 characters), outside -2147483648 to 2147483647" in finding.message


CODES = {
    "deep parentheses": "x = " + "(" * 100_000,
    "deep signs": "x = " + "-" * 200_000 + "1",
    "deep attributes": "x = a" + ".a" * 100_000,
    "deep sums": completing("config.set_max_batch_size(" + "1 + " * 3000 + "1)"),
    "deep calls": completing("TritonPythonModel.auto_complete_config(config)"),
    "NUL bytes": "\0",
    "bytes that are not UTF-8": b"# \xff\nx = 1",
    "an unknown coding": b"# coding: nonsense\n",
    "a number of 5,000 digits": completing(f"config.set_max_batch_size({DIGITS})"),
    "a wrong escape": completing("config.set_max_batch_size('\\d')"),
    "a dictionary that holds itself": completing(
        "x = {}\nx['x'] = x\nconfig.as_dict()['x'] = x\nconfig.as_dict()['input'].append(x)"
    ),
    "a list that holds itself": completing("x = []\nx.append(x)\nconfig.set_max_batch_size(x)\nconfig.add_input(x)"),
    "keys of every type": completing("config.add_input({1: 2, None: 3, (4,): 5, 'name': [6]})"),
    "a config taken apart": completing("config.as_dict().clear()\nconfig.as_dict()['input'] = 3\nconfig.add_input({})"),
}


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_hostile_code_is_read(code: str | bytes, tmp_path: Path) -> None:
    write_repository(tmp_path, {"m": {"config.pbtxt": PLAIN, "1/model.py": code}})
    assert all("\n" not in finding.message for finding in lint(tmp_path))


PIECES = [
    DIGITS, "1e999", "-", "0x", "\0", "\ufffd", "\udcff", "\n", "{", "}", "[", "]", '"', "'", "\\", "#", ":", ",",
    "-1", "0", "TYPE_INVALID", "input", "output", "dims", "version_policy", "nan", "{ }", '""', "x" * 300, "\t", "$",
]  # fmt: skip


def test_no_mutation_of_a_config_or_of_code_breaks_it(tmp_path: Path) -> None:
    random = Random(14)
    for number in range(600):
        files = dict(SEEDS[random.choice(list(SEEDS))])
        place = random.choice([name for name in ("config.pbtxt", "1/model.py") if name in files])
        text = str(files[place])
        for _ in range(random.choice((1, 2, 5))):
            start = random.randrange(len(text))
            end = start + random.choice((0, 1, 3, 20))
            text = text[:start] + random.choice((random.choice(PIECES), "", text[start:end] * 2)) + text[end:]
        files[place] = text.encode("utf-8", "surrogateescape")
        write_repository(tmp_path, {f"m{number}": {name: what for name, what in files.items() if name[-1] != "/"}})
    findings = lint(tmp_path)
    assert len(findings) > 600
    assert all("\n" not in f"{one.message}{one.advice}" for one in findings)


def test_names_that_are_not_utf_8_can_be_printed(tmp_path: Path) -> None:
    folder = tmp_path / "m\udcff"
    folder.mkdir()
    (folder / "config.pbtxt").write_bytes(b"name: \xff")
    for format in FORMATS:
        done = CliRunner().invoke(app, ["lint", str(tmp_path), "--format", format])
        assert (done.exit_code, type(done.exception)) == (1, SystemExit)


def test_a_version_of_5000_digits_is_a_mistake_of_use() -> None:
    done = CliRunner().invoke(app, ["lint", ".", "--triton", f"2.{DIGITS}"])
    assert "write a version of tritonserver" in str(done.exception)
