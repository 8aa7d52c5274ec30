"""The command `ai102 release` from a key to a rollback, as a user types it."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ai102.cli.main import app
from ai102.errors import UserError
from ai102.release.history import History
from ai102.release.rollout import Cluster
from ai102.release.store import Store
from tests.release.documents import BUILT, LABELS, pipeline, release
from tests.release.fake_kubectl import install

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "a" * 64
Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`ai102 release` with these words, in an empty folder of its own."""
    install(tmp_path / "bin", tmp_path / "cluster.json")
    for name, value in {
        "AI102_RELEASES": str(tmp_path / "store"),
        "AI102_RELEASE_KEYS": str(tmp_path / "known"),
        "FAKE_CLUSTER": str(tmp_path / "cluster.json"),
        "PATH": str(tmp_path / "bin"),
        "LOGNAME": "ann",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AI102_RELEASE_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ai102.release.rollout.Cluster", partial(Cluster, pace_s=0.01))

    def run(*words: str) -> Result:
        done = CliRunner().invoke(app, ["release", *words])
        assert done.exception is None or isinstance(done.exception, UserError | SystemExit), done.exception
        return done

    return run


def kept(folder: Path, *names: str) -> list[str]:
    """Releases in the store, of these kinds."""
    models = {
        "old": pipeline(),
        "other labels": pipeline(labels=LABELS[::-1]),
        "more": {**pipeline(), "z": pipeline()["classify"]},
    }
    store = Store(folder / "store", History(folder / "store" / "history.db"), {})
    return [
        store.add(release("bcdef"[number], models=models[name]), BUILT, None)[0].name
        for number, name in enumerate(names)
    ]


def test_from_a_key_to_a_rollback(command: Command, tmp_path: Path) -> None:
    old, new = kept(tmp_path, "old", "more")
    made = command("key", "new", "--out", "ann").stdout
    assert "ann: key " in made
    assert stat.S_IMODE((tmp_path / "ann").stat().st_mode) == 0o600
    assert "is not in" in command("sign", old, "--key", "ann").stderr
    (tmp_path / "known").mkdir()
    shutil.copy("ann.pub", "known")
    assert command("verify", old).stdout.endswith(f"with key ann ({made.split()[2].rstrip(';')})\n")
    assert "no known key has signed it" in str(command("verify", new).exception)
    command("sign", new, "--key", "ann")
    for name in (old, new):
        assert command("promote", name).stdout == f"{name} is in service in fake/ai102\n"
    assert command("rollback", "--why", "too slow").stdout == f"{old} is in service in fake/ai102\n"
    lines = command("list").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["NAME          ".strip(), *sorted([old, new])]
    states = {row["name"]: row["state"] for row in json.loads(command("list", "--json").stdout)}
    assert states == {old: "in service in fake/ai102", new: "rolled back"}
    page = command("show", new[:6]).stdout
    assert f"rolled-back to {old} in fake/ai102" in page
    assert "too slow" in page
    overlay = command("show", new, "--kustomize").stdout.splitlines()
    assert overlay[1] == (f'  - {{name: ai102/server, newName: "reg.example:5000/ai102/server", digest: "{DIGEST}"}}')
    history = json.loads(command("show", new, "--json").stdout)["history"]
    assert [event["what"] for event in history] == ["built", "signed", "promoted", "promoted", *["rolled-back"] * 2]


def signed(command: Command, folder: Path, *names: str) -> None:
    command("key", "new", "--out", "ann")
    (folder / "known").mkdir()
    shutil.copy("ann.pub", "known")
    for name in names:
        command("sign", name, "--key", "ann")


def test_a_promotion_that_does_not_get_ready_goes_back_where_it_is_told_to(command: Command, tmp_path: Path) -> None:
    old, new = kept(tmp_path, "old", "more")
    signed(command, tmp_path, old, new)
    command("promote", old)
    cluster = tmp_path / "cluster.json"
    state = json.loads(cluster.read_text())
    cluster.write_text(json.dumps({**state, "next": "stuck good"}))
    done = command("promote", new, "--back", "--timeout-s", "2")
    assert done.exit_code == 4
    assert done.stderr.splitlines()[-1] == f"{old} is in service in fake/ai102 again"


def test_notes_say_what_changes_since_what_was_in_service_last(command: Command, tmp_path: Path) -> None:
    old, new, worse = kept(tmp_path, "old", "more", "other labels")
    assert command("notes", new).stdout.splitlines()[-1] == "No release before it is known."
    signed(command, tmp_path, old, new)
    command("promote", old)
    for words in (["notes", new], ["notes", new, "--since", old]):
        lines = command(*words).stdout.splitlines()
        assert lines[:3] == [f"# Release {new}", "", "a test"]
        assert f"## Changes since {old}" in lines
        assert "| models z | absent | served | go on |" in lines
    command("promote", new)
    assert f"## Changes since {old}\n" in command("notes", new).stdout
    assert f"## Changes since {new}\n" in command("notes", worse).stdout
    assert "| **incompatible**: a place of the scores" in command("notes", worse, "--since", old).stdout


def test_a_difference_that_breaks_callers_has_exit_status_1(command: Command, tmp_path: Path) -> None:
    old, worse, more = kept(tmp_path, "old", "other labels", "more")
    done = command("diff", old, worse)
    assert done.exit_code == 1
    assert "  ! classify: 3 labels -> 3 labels, in another order  INCOMPATIBLE: a place of the scores" in done.stdout
    assert "to ship it: serve what changed under another name" in done.stdout
    facts = json.loads(command("diff", old, worse, "--json").stdout)
    assert (facts["is_compatible"], [each["section"] for each in facts["changes"]]) == (False, ["labels", "images"])
    assert command("diff", old, more).exit_code == 0
    assert "differ in nothing" in command("diff", old, old).stdout


def test_a_changed_file_is_named_and_the_others_are_listed(command: Command, tmp_path: Path) -> None:
    good, bad = kept(tmp_path, "old", "more")
    file = tmp_path / "store" / f"{bad}.json"
    file.write_text(file.read_text().replace("0.2.0", "0.2.1"))
    done = command("list")
    assert good in done.stdout
    assert bad not in done.stdout
    assert "somebody has changed or renamed the file" in str(done.exception)


MISTAKES = {
    "no image": (["build"], "--server is missing: write NAME@sha256:..., or --pushed FILE"),
    "one image": (["build", "--server", f"x@{DIGEST}"], "--models is missing"),
    "a tag": (["build", "--server", "x:1", "--models", f"y@{DIGEST}"], '--server "x:1" names no digest'),
    "no contract": (["build", "--server", f"x@{DIGEST}", "--models", f"y@{DIGEST}"], "models.toml: no such file; run"),
    "no release": (["show", "r-1"], "no release r-1: `ai102 release build` writes one"),
    "no key": (["sign", "r-1"], "--key is missing: name the file of a private key, or set AI102_RELEASE_KEY"),
    "key not there": (["sign", "r-1", "--key", "x"], "x: no such file: `ai102 release key new --out x` makes a key"),
    "another database": (["list", "--history", "postgresql://x/y"], "write sqlite:///FILE"),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(command: Command, words: list[str], message: str) -> None:
    said = str(command(*words).exception)
    assert message in said
    assert "\n" not in said


def test_an_empty_store_says_so_and_is_not_made(command: Command, tmp_path: Path) -> None:
    assert "`ai102 release build` writes one" in command("list").stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.e2e
def test_the_repository_that_is_built_here_becomes_a_release(command: Command, tmp_path: Path) -> None:
    (tmp_path / "pushed.txt").write_text(f"pushed x/ai102/server:1@{DIGEST}\npushed x/ai102/models:2@{DIGEST}\n")
    words = ("build", "--pushed", "pushed.txt", "--note", "as built", "--contract", str(ROOT / "models.toml"))
    name = command(*words).stdout.strip()
    facts = json.loads(command("show", name, "--json").stdout)
    assert facts["release"]["measured"]["digits_int8"]["budget"]["min_top1_percent"]["limit"] == 98.5
    assert facts["release"]["models"]["classify_image"]["labels"][:2] == ["zero", "one"]
    assert facts["state"] == "built, not signed"
    assert command("diff", name, name).exit_code == 0
    again = command(*words)
    assert again.stdout.strip() == name
    assert "was built before" in again.stderr
