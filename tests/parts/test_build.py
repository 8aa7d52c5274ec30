"""A part is whole or not there, is made once, and one process makes it. The parts are wheels in a folder."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from ai102 import artifact
from ai102.errors import UserError
from ai102.parts import Cache, Parts, carried, inventory, load, program
from ai102.parts.build import build, fetch
from ai102.parts.lock import only_one
from tests.parts.stand_ins import Recorder, part_from_wheel, wheel

DEADLINE_S = 20


@pytest.fixture
def parts(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """One part that can be made; its wheel is downloaded already, and pip has it too."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    file = wheel(tmp_path / "wheels")
    sha256 = artifact.sha256_of_file(file)
    cache.downloads.mkdir(parents=True)
    shutil.copyfile(file, cache.downloads / f"greet-bin-1.0-{sha256[:12]}.whl")
    return Parts(parts={"greet": part_from_wheel(sha256)})


def left_in(folder: Path) -> list[str]:
    """Names of all but locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def table_of(parts: Parts, folder: Path) -> Path:
    """The same parts as a file."""
    part = parts.part("greet")
    assert part.pypi is not None
    rows = ["[parts.greet]", f'version = "{part.version}"', 'needed_for = ["logs"]']
    rows += [
        'programs = { greet = "bin/greet" }',
        f'pypi = {{ distribution = "greet-bin", sha256 = "{part.pypi.sha256}" }}',
    ]
    file = folder / "parts.toml"
    file.write_text("\n".join(rows) + "\n")
    return file


def test_a_part_lies_by_name_and_version_and_is_made_once(parts: Parts, cache: Cache) -> None:
    first, second = Recorder(), Recorder()
    build(parts, ["greet"], cache, first)
    build(parts, ["greet"], cache, second)
    folder = cache.folder("greet", parts.part("greet"))
    assert folder.name.startswith("greet-1.0-")
    assert left_in(cache.parts) == [folder.name]
    assert folder.stat().st_mode & 0o777 == 0o755
    assert first.lines == [f"greet 1.0: {folder}"]
    assert (second.titles, second.lines) == ([], [])


def test_a_program_is_found_once_it_is_made_and_else_the_error_says_what_to_run(
    parts: Parts, cache: Cache, tmp_path: Path
) -> None:
    file = table_of(parts, tmp_path)
    with pytest.raises(UserError) as error:
        program("greet", cache=cache, file=file)
    assert str(error.value) == f"greet 1.0 is not in the cache {cache.root}: run `ai102 parts build greet`"
    build(parts, ["greet"], cache, Recorder())
    assert os.access(program("greet", cache=cache, file=file), os.X_OK)
    with pytest.raises(UserError, match="the part greet has no program wave: it has greet"):
        program("greet", "wave", cache=cache, file=file)


def test_what_a_program_runs_on_is_named_where_it_is_missing(
    parts: Parts, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(parts, ["greet"], cache, Recorder())
    file = table_of(parts, tmp_path)
    file.write_text(file.read_text() + 'runs_on = ["java"]\n')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="java is not on PATH, and greet runs on it: apt-get install default-jre"):
        program("greet", cache=cache, file=file)


def test_another_pin_or_another_source_of_ours_is_another_part(parts: Parts, cache: Cache) -> None:
    part = parts.part("greet")
    before = cache.folder("greet", part)
    assert cache.folder("greet", part_from_wheel("0" * 64)) != before
    assert cache.folder("greet", part.model_copy(update={"needed_for": ("traces",), "build_s": 5})) == before
    (cache.sources / "greet/stub").mkdir(parents=True)
    (cache.sources / "greet/main.go").write_text("package main\n")
    with_main = cache.folder("greet", part)
    (cache.sources / "greet/stub/go.mod").write_text("module example.invalid/stub\n")
    assert len({before, with_main, cache.folder("greet", part)}) == 3


def test_a_part_that_fails_leaves_nothing_and_does_not_stop_the_next(parts: Parts, cache: Cache) -> None:
    both = Parts(parts={"broken": part_from_wheel("0" * 64), **parts.parts})
    with pytest.raises(UserError) as error:
        build(both, ["broken", "greet"], cache, Recorder())
    assert str(error.value).startswith("broken: greet_bin-1.0-py3-none-any.whl has sha256 ")
    assert "\n" not in str(error.value)
    assert left_in(cache.parts) == [cache.folder("greet", parts.part("greet")).name]


def test_a_part_without_its_program_is_not_taken(parts: Parts, cache: Cache) -> None:
    part = parts.part("greet").model_copy(update={"programs": {"greet": "bin/wave"}})
    with pytest.raises(UserError) as error:
        build(Parts(parts={"greet": part}), ["greet"], cache, Recorder())
    wrong = "parts.greet.programs in parts.toml: greet is bin/wave, but no such program was made"
    assert str(error.value) == f"greet: {wrong}"
    assert left_in(cache.parts) == []


def test_a_file_that_a_part_carries_is_found_and_one_that_it_lacks_is_named(
    parts: Parts, cache: Cache, tmp_path: Path
) -> None:
    file = table_of(parts, tmp_path)
    file.write_text(file.read_text() + 'files = { facts = "lib/greet_bin-1.0.dist-info/METADATA" }\n')
    table = load(file)
    build(table, ["greet"], cache, Recorder())
    assert carried("greet", "facts", cache=cache, file=file).read_text().startswith("Metadata-Version")
    with pytest.raises(UserError, match="the part greet has no file licence: it has facts"):
        carried("greet", "licence", cache=cache, file=file)
    part = table.part("greet").model_copy(update={"files": {"licence": "LICENSE"}})
    with pytest.raises(UserError) as error:
        build(Parts(parts={"greet": part}), ["greet"], cache, Recorder())
    wrong = "parts.greet.files in parts.toml: licence is LICENSE, but the part has none"
    assert str(error.value) == f"greet: {wrong}"


def test_a_part_that_would_not_be_built_in_time_is_left_out_and_named(parts: Parts, cache: Cache) -> None:
    slow = parts.part("greet").model_copy(update={"version": "1.0+slow", "build_s": 300})
    both = Parts(parts={"slow": slow, **parts.parts})
    reporter = Recorder()
    assert build(both, ["slow", "greet"], cache, reporter, within_s=120) == ["slow"]
    assert reporter.lines[0] == "slow 1.0+slow is left out: it takes some 300 s, and 120 s are left"
    assert left_in(cache.parts) == [cache.folder("greet", parts.part("greet")).name]


def test_a_part_that_is_in_the_cache_is_never_left_out(parts: Parts, cache: Cache) -> None:
    build(parts, ["greet"], cache, Recorder())
    slow = Parts(parts={"greet": parts.part("greet").model_copy(update={"build_s": 300})})
    assert build(slow, ["greet"], cache, Recorder(), within_s=0) == []


def test_what_a_killed_process_left_is_removed_by_the_next(parts: Parts, cache: Cache) -> None:
    for place in (cache.parts, cache.downloads):
        (place / f"{artifact.TEMPORARY}0123").mkdir(parents=True)
    build(parts, ["greet"], cache, Recorder())
    assert list(cache.root.rglob(f"{artifact.TEMPORARY}*")) == []


def test_a_second_process_waits_for_the_first_and_says_so(parts: Parts, cache: Cache) -> None:
    is_waiting = threading.Event()

    class Waiter(Recorder):
        def say(self, line: str) -> None:
            super().say(line)
            is_waiting.set()

    reporter = Waiter()
    thread = threading.Thread(target=build, args=(parts, ["greet"], cache, reporter))
    with only_one(cache.parts / ".greet.lock", lambda: None):
        thread.start()
        assert is_waiting.wait(DEADLINE_S)
        assert left_in(cache.parts) == []
    thread.join(DEADLINE_S)
    folder = cache.folder("greet", parts.part("greet"))
    assert reporter.lines == ["waiting for another process that makes greet", f"greet 1.0: {folder}"]


def test_fetching_makes_a_part_that_needs_no_compiler(parts: Parts, cache: Cache) -> None:
    fetch(parts, ["greet"], cache, Recorder())
    assert cache.manifest("greet", parts.part("greet")) is not None


def test_the_list_gives_size_and_folder_of_what_is_in_the_cache(parts: Parts, cache: Cache) -> None:
    (before,) = inventory.rows(parts, ["greet"], cache)
    build(parts, ["greet"], cache, Recorder())
    (after,) = inventory.rows(parts, ["greet"], cache)
    assert (before.bytes, before.folder, before.programs) == (None, None, {"greet": "bin/greet"})
    assert after.folder == str(cache.folder("greet", parts.part("greet")))
    assert after.programs == {"greet": f"{after.folder}/bin/greet"}
    assert after.bytes is not None
    assert 0 < after.bytes < 10_000
    assert json.loads(json.dumps(after.as_dict()))["source"] == "PyPI"
