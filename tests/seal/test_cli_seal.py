"""`ai102 keys` and `ai102 bundle`, as typed."""

import base64
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ai102.cli import seal
from ai102.errors import UserError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "repository" / "m" / "1").mkdir(parents=True)
    (tmp_path / "repository" / "m" / "config.pbtxt").write_text("name: 'm'")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ai102(verbs: str, *arguments: str, **environ: str) -> Result:
    return CliRunner().invoke({"keys": seal.keys, "bundle": seal.bundle}[verbs], arguments, env=environ)


def test_keys_are_made_rotated_and_listed_without_being_shown(here: Path) -> None:
    steps = [ai102("keys", *words) for words in (["new", "a"], ["rotate"], ["rotate", "--retire", "a"], ["list"])]
    outputs = [step.output for step in steps]
    assert [step.exit_code for step in steps] == [0, 0, 0, 0], outputs
    assert "made build/gateway/keys/a.key (active, fingerprint " in outputs[0]
    assert "seals from now on; a still opens" in outputs[1]
    assert "a opens nothing any more" in outputs[2]
    assert sorted(line.split()[2] for line in outputs[3].splitlines()[1:]) == ["active", "retired"]
    for file in (here / "build" / "gateway" / "keys").glob("*.key"):
        assert file.read_text().splitlines()[-2][:8] not in "".join(outputs)


def test_a_bundle_is_sealed_and_opened(here: Path) -> None:
    ai102("keys", "new", "a")
    sealed = ai102("bundle", "seal", "repository", "b.ai102", "--key", "a")
    opened = ai102("bundle", "open", "b.ai102", "out")
    assert "wrote b.ai102: 0.0 MB, 3 files and folders, key a" in sealed.output
    assert "opened out: 0.0 MB, 3 files and folders" in opened.output
    assert (here / "out" / "m" / "config.pbtxt").read_text() == "name: 'm'"


def test_keys_of_the_environment_go_before_the_folder(here: Path) -> None:
    secret = base64.b64encode(bytes(32)).decode()
    ai102("keys", "new", "a")
    assert "key e" in ai102("bundle", "seal", "repository", "b", AI102_SEAL_KEY_E=secret).output
    assert ai102("bundle", "open", "b", "out", AI102_SEAL_KEY_E=secret).exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("bundle seal repository b", "build/gateway/keys: No such file or directory: make keys with"),
        ("bundle seal repository b --key z --home k", "no open key z"),
        ("bundle seal no b --home k", "no: no model repository"),
        ("bundle open b out --home k", "b: No such file or directory: name a bundle"),
        ("bundle open repository out --home k", "repository: Is a directory: name a bundle"),
        ("bundle open repository/m/config.pbtxt out --home k", "not a bundle of this format"),
        ("bundle open b --home k", "give either a FOLDER to open the bundle into, or --memory"),
        ("bundle open b out --memory --home k", "give either a FOLDER to open the bundle into, or --memory"),
        ("keys list", "make keys with `ai102 keys new`"),
        ("keys rotate", "make keys with `ai102 keys new`"),
        ("keys new A/b", '"A/b" is no key id'),
        ("keys new a --home k", "k: there is a key a"),
        ("keys rotate z --home k", "no open key z: it has a (open)"),
        ("keys list --home public", "so others may read or write it: run `chmod go-rwx public/p.key`"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(words: str, message: str, here: Path) -> None:
    ai102("keys", "new", "a", "--home", "k")
    ai102("keys", "new", "p", "--home", "public")
    (here / "public" / "p.key").chmod(0o644)
    done = ai102(*words.split())
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert sorted(path.name for path in here.iterdir()) == ["k", "public", "repository"]


# Whoever runs the tests in the background, or in several processes, has them inherit that SIGINT is ignored.
INTERRUPTIBLE = """import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("ai102", run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_bundle_in_memory_lasts_until_the_signal(number: signal.Signals, here: Path) -> None:
    ai102("keys", "new", "a")
    ai102("bundle", "seal", "repository", "b")
    command = [sys.executable, "-c", INTERRUPTIBLE, "bundle", "open", "b", "--memory"]
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True, env=os.environ) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().split()[0])
        assert (folder / "m" / "config.pbtxt").read_text() == "name: 'm'"
        run.send_signal(number)
        assert run.wait(20) == (0 if number == signal.SIGINT else 128 + number)
    assert not folder.parent.exists()
