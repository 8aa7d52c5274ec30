"""`ai102 masking ...` as a person runs it."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ai102.cli.masking import app
from ai102.errors import UserError

from .conftest import RULES

WITH_RULES = ["--rules", str(RULES)]


def apply(text: str, rules: Path) -> str:
    program = "from ai102.cli.masking import app; app()"
    command = [sys.executable, "-c", program, "apply", "--rules", str(rules)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60).stdout


def test_check_shows_place_kind_value_and_mark(tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_text("nothing\ntel １３８００１３８０００ of bob@example.com\n", encoding="utf-8")  # noqa: RUF001
    done = CliRunner().invoke(app, ["check", str(file), *WITH_RULES])
    assert done.stdout.splitlines() == [
        "2:5 phone '１３８００１３８０００' -> [phone]",  # noqa: RUF001
        "2:20 email 'bob@example.com' -> [email]",
    ]
    assert done.stderr == "2 to mask: 1 phone, 1 email\n"


def test_reveal_opens_what_apply_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AI102_MASKING_KEY_K1", raising=False)
    rules = tmp_path / "masking.toml"
    rules.write_text('rules = [{ kind = "phone", action = "seal" }]', encoding="utf-8")
    run, where = CliRunner(), ["--rules", str(rules)]
    assert run.invoke(app, ["new-key", "k1", *where]).exit_code == 0
    sealed = apply("电话13800138000\n", rules)
    assert sealed.startswith("电话[phone~k1~")
    assert run.invoke(app, ["reveal", *where], input=sealed).stdout == "电话13800138000\n"
    forged = run.invoke(app, ["reveal", *where], input=sealed.replace("[phone~", "[card~"))
    assert forged.exit_code == 1
    assert "1 marks do not open" in forged.stderr
    monkeypatch.setenv("AI102_MASKING_KEY_K1", base64.b64encode(os.urandom(64)).decode())
    assert run.invoke(app, ["reveal", *where], input=sealed).exit_code == 1
    unknown = run.invoke(app, ["reveal", *where], input=sealed.replace("~k1~", "~k2~"))
    assert isinstance(unknown.exception, UserError)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "no.log", *WITH_RULES], "no.log: No such file or directory; name a text file"),
        (["check", ".", *WITH_RULES], "Is a directory"),
        (["apply", "--rules", "nowhere.toml"], "nowhere.toml: no such file"),
        (["apply", "no.log", *WITH_RULES], "no.log: No such file or directory; name a text file"),
        (["new-key", "K 1", *WITH_RULES], '"K 1" is no key id'),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UserError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
