"""`ai102 masking ...` as a person runs it."""

import base64
import json
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
COMMAND = [sys.executable, "-c", "from ai102.cli.masking import app; app()"]


def test_check_shows_place_kind_value_and_mark(tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_text("nothing\ntel １３８００１３８０００ of bob@example.com\n", encoding="utf-8")  # noqa: RUF001
    done = CliRunner().invoke(app, ["check", str(file), *WITH_RULES])
    assert done.stdout.splitlines() == [
        "2:5 phone '１３８００１３８０００' -> [phone]",  # noqa: RUF001
        "2:20 email 'bob@example.com' -> [email]",
    ]
    assert done.stderr == "2 to mask: 1 phone, 1 email\n"


def test_apply_masks_every_byte_it_can_and_keeps_the_others() -> None:
    given = b"\xff\xfe tel 13800138000\r\n\x00\n\xe4\xb8 10.1.2.3 no newline at the end"
    done = CliRunner().invoke(app, ["apply", *WITH_RULES], input=given)
    assert done.stdout_bytes == b"\xff\xfe tel [phone]\r\n\x00\n\xe4\xb8 [ip] no newline at the end"


def test_apply_writes_every_line_before_the_next_one_comes() -> None:
    with subprocess.Popen(
        [*COMMAND, "apply", *WITH_RULES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as pipe:
        assert pipe.stdin
        assert pipe.stdout
        for text in (b"13800138000\n", b"10.1.2.3\n"):
            pipe.stdin.write(text)
            pipe.stdin.flush()
            assert pipe.stdout.readline() in (b"[phone]\n", b"[ip]\n")
        pipe.stdin.close()
        assert pipe.wait(10) == 0


def test_a_reader_that_leaves_ends_the_pipe_quietly(tmp_path: Path) -> None:
    file = tmp_path / "long.log"
    file.write_text("line\n" * 50_000)
    with subprocess.Popen(
        [*COMMAND, "apply", str(file), *WITH_RULES], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as pipe:
        assert pipe.stdout
        assert pipe.stderr
        pipe.stdout.readline()
        pipe.stdout.close()
        assert pipe.stderr.read() == b""
        assert pipe.wait(20) == 0


def test_reveal_opens_what_apply_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AI102_MASKING_KEY_K1", raising=False)
    rules = tmp_path / "masking.toml"
    rules.write_text('rules = [{ kind = "phone", action = "seal" }]', encoding="utf-8")
    run, where = CliRunner(), ["--rules", str(rules)]
    assert run.invoke(app, ["new-key", "k1", *where]).exit_code == 0
    sealed = run.invoke(app, ["apply", *where], input="电话13800138000\n").stdout
    assert sealed.startswith("电话[phone~k1~")
    assert run.invoke(app, ["reveal", *where], input=sealed).stdout == "电话13800138000\n"
    forged = run.invoke(app, ["reveal", *where], input=sealed.replace("[phone~", "[card~"))
    assert forged.exit_code == 1
    assert "1 marks do not open" in forged.stderr
    monkeypatch.setenv("AI102_MASKING_KEY_K1", base64.b64encode(os.urandom(64)).decode())
    assert run.invoke(app, ["reveal", *where], input=sealed).exit_code == 1
    unknown = run.invoke(app, ["reveal", *where], input=sealed.replace("~k1~", "~k2~"))
    assert isinstance(unknown.exception, UserError)


@pytest.mark.parametrize("shipper", ["vector", "fluent-bit", "json"])
def test_an_export_says_what_it_cannot_do(shipper: str) -> None:
    done = CliRunner().invoke(app, ["export", "--for", shipper, *WITH_RULES])
    assert done.exit_code == 0
    if shipper == "json":
        exported = json.loads(done.stdout)
        assert "no check digits" in exported["about"]["portable"]["differs"]
        card = next(rule for rule in exported["rules"] if rule["kind"] == "card")
        assert "Luhn" in card["exact"][0]["checked_besides"]
    else:
        assert "a change made here is lost" in done.stdout.splitlines()[0]
    assert "not run on Vector" in done.stdout or shipper != "vector"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "no.log", *WITH_RULES], "no.log: No such file or directory; name a text file"),
        (["check", ".", *WITH_RULES], "Is a directory"),
        (["apply", "--rules", "nowhere.toml"], "nowhere.toml: no such file"),
        (["new-key", "K 1", *WITH_RULES], '"K 1" is no key id'),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UserError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
