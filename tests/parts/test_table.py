"""parts.toml: what stands in ours, and one line for each mistake in any."""

from pathlib import Path
from typing import get_args

import pytest

from ai102.cli import parts as cli
from ai102.errors import UserError
from ai102.parts import checksum, go, load
from ai102.parts.table import FILE, Group

SOURCES = FILE.with_name("parts")
GOOD = """
[parts.greet]
version = "1.0"
needed_for = ["logs"]
programs = { greet = "usr/bin/greet" }
"""
SUM = "0" * 64
PACKAGE = f'suite = "sid", package = "greet", version = "1.0-1", sha256 = "{SUM}"'
DEBIAN = f"debian = [{{ {PACKAGE} }}]\n"
MISTAKES = [
    ("", "parts.toml: parts.greet.source is missing: write exactly one of debian, go, maven, pypi"),
    (
        DEBIAN + f'pypi = {{ distribution = "greet", sha256 = "{SUM}" }}',
        "parts.toml: parts.greet.source is debian and pypi: write exactly one of debian, go, maven, pypi",
    ),
    (
        DEBIAN.replace("1.0-1", "2.0-1"),
        'parts.toml: parts.greet.version is "1.0" but the package greet is 2.0-1: write the version',
    ),
    (DEBIAN + 'colour = "red"', "parts.toml: parts.greet.colour is not a key; the keys are "),
    (DEBIAN.replace(SUM, "abc"), "parts.toml: parts.greet.debian[0].sha256 is 'abc': it should match pattern"),
    (
        'go = { packages = ["."] }',
        "parts.toml: parts.greet.build_s is missing: write the seconds that it takes to build with an empty cache",
    ),
    ("go = {}", "parts.toml: parts.greet.go.packages are what programs are built from: write both, or files alone"),
    (
        'build_s = 5\ngo = { packages = ["a", "b"], links = ["greet"] }',
        "parts.toml: parts.greet.go.links are names of one program, but packages are 2: drop one of both",
    ),
    (
        'build_s = 5\ngo = { packages = ["."], variables = { "main.version" = "1.0 -w" } }',
        "parts.toml: parts.greet.go.variables.main.version is '1.0 -w': it should match pattern",
    ),
    (DEBIAN + "build_s = 0", "parts.toml: parts.greet.build_s is 0: it should be greater than or equal to 1"),
    (DEBIAN.replace('"sid"', '"buzz"'), "parts.toml: parts.greet.debian[0].suite is 'buzz': it should be 'bookworm'"),
]


@pytest.mark.parametrize(("source", "line"), MISTAKES, ids=[str(number) for number in range(len(MISTAKES))])
def test_a_mistake_is_one_line(source: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / "parts.toml"
    file.write_text(GOOD + source)
    with pytest.raises(UserError) as error:
        load(file)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["../greet", "/usr/bin/greet", "usr/../../greet"])
def test_a_program_lies_inside_its_part(path: str, tmp_path: Path) -> None:
    file = tmp_path / "parts.toml"
    file.write_text(GOOD.replace("usr/bin/greet", path) + DEBIAN)
    with pytest.raises(UserError, match=r"parts\.greet\.programs\.greet"):
        load(file)


def test_names_and_groups_choose_parts_in_the_order_of_the_file() -> None:
    parts = load()
    assert parts.chosen(["zipkin", "prometheus"], []) == ["prometheus", "zipkin"]
    assert set(parts.chosen([], ["monitoring"])) >= {"prometheus", "alertmanager", "node-exporter"}
    assert parts.chosen(["hadolint"], ["traces"]) == ["hadolint", "otelcol", "zipkin"]
    assert parts.chosen([], ["mesh", "scaling"]) == ["istio", "envoy", "flagger", "prometheus-adapter"]
    with pytest.raises(UserError, match="there is no part nope: the parts are prometheus, "):
        parts.chosen(["nope"], [])


def test_parts_that_a_cluster_alone_needs_are_made_only_when_they_are_asked_for() -> None:
    parts = load()
    by_default, of_a_cluster = parts.chosen([], []), parts.chosen([], ["cluster", "mesh", "scaling", "storage", "jobs"])
    assert {"prometheus", "otelcol", "hadolint"} <= set(by_default)
    assert {"prometheus", "kubernetes", "istio"} <= set(of_a_cluster)
    assert not {"kubernetes", "keda", "istio", "prometheus-adapter"} & set(by_default)
    assert sum(parts.part(name).build_s or 0 for name in by_default) < 120
    assert set(by_default) | set(of_a_cluster) == set(parts.parts)


def test_the_command_line_knows_every_group() -> None:
    assert tuple(cli.Use) == get_args(Group)


def test_versions_of_ours_agree_with_the_files_that_pin_them() -> None:
    for name, part in load().parts.items():
        if part.go:
            go.check_version(name, part, SOURCES / name / "go.mod")
        if part.maven:
            jars = checksum.from_file(SOURCES / name / "sha256sums")
            assert any(jar.startswith(f"{part.maven.artifact}-{part.version}") for jar in jars), name


def test_every_folder_of_sources_belongs_to_a_part() -> None:
    assert {folder.name for folder in SOURCES.iterdir()} <= set(load().parts)
