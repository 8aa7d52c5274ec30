"""Which Docker client is taken, and what is said when none can be used. The clients here are scripts."""

import os
from pathlib import Path

import pytest

from ai102.compose.program import compose_command
from ai102.errors import UserError
from ai102.images.docker import Docker, complaint_of, found_docker
from ai102.parts import Cache, load
from ai102.parts.cache import MANIFEST


def program(folder: Path, name: str, **answers: str) -> str:
    """A program that prints an answer for the first argument given, and fails for those it does not know."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    cases = "".join(f"  {word}) echo '{text}';;\n" for word, text in answers.items())
    path.write_text(f'#!/bin/sh\ncase "${{1#--}}" in\n{cases}  *) echo "unknown: $1" >&2; exit 1;;\nesac\n')
    path.chmod(0o755)
    return str(path)


def test_a_new_client_without_buildx_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "new", "docker", version="Docker version 28.2.2, build e6534b4")
    old = program(tmp_path / "old", "docker", version="Docker version 20.10.24, build 297e128")
    assert found_docker(os.pathsep.join([str(tmp_path / "new"), str(tmp_path / "old")])).program == old


def test_a_new_client_with_buildx_is_taken(tmp_path: Path) -> None:
    new = program(tmp_path, "docker", version="Docker version 28.2.2, build e6534b4", buildx="github.com/docker/buildx")
    assert found_docker(str(tmp_path)).program == new


def test_a_client_that_cannot_build_is_one_line(tmp_path: Path) -> None:
    program(tmp_path, "docker", version="Docker version 28.2.2, build e6534b4")
    with pytest.raises(UserError, match="its part buildx is missing: install docker-buildx"):
        found_docker(str(tmp_path))


def test_no_client_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"docker is not installed: `apt-get install docker\.io`"):
        found_docker(str(tmp_path))


def test_an_engine_that_is_away_is_one_line(tmp_path: Path) -> None:
    path = Path(program(tmp_path, "docker"))
    path.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "Docker version 20.10.24" && exit\n'
        'echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock." >&2\nexit 1\n'
    )
    with pytest.raises(UserError, match=r"engine does not answer \(Cannot connect to the Docker daemon"):
        found_docker(str(tmp_path))


@pytest.mark.parametrize(
    ("stderr", "complaint"),
    [
        ("Error response from daemon: No such image: x\n", "No such image: x"),
        ("warning\nERROR: failed to solve: y\n\n", "failed to solve: y"),
        ("unauthorized: authentication required\nSee 'docker push --help'.\n", "unauthorized: authentication required"),
        ("", "it does not say why"),
    ],
)
def test_of_what_docker_says_the_last_line_counts(stderr: str, complaint: str) -> None:
    assert complaint_of(stderr) == complaint


def cached_compose(cache: Cache) -> str:
    """A cache whose docker-compose is a script."""
    part = load().part("docker-compose")
    folder = cache.folder("docker-compose", part)
    path = folder / part.programs["docker-compose"]
    program(path.parent, path.name)
    (folder / MANIFEST).write_text("{}")
    return str(path)


def test_compose_is_the_plugin_or_the_program_or_that_of_the_cache(tmp_path: Path) -> None:
    with_plugin = Docker(program(tmp_path / "plugin", "docker", compose="Docker Compose version v2.40.3"))
    without = Docker(program(tmp_path / "plain", "docker"))
    old = program(tmp_path / "old", "docker-compose", version="1.29.2")
    environ = {"PATH": str(Path(old).parent), "AI102_CACHE": str(tmp_path / "cache")}
    cached = cached_compose(Cache.of(environ))
    assert compose_command(with_plugin, {}) == [with_plugin.program, "compose"]
    assert compose_command(without, environ) == [cached]
    with pytest.raises(UserError, match=r"Compose 2 is not installed: .*run `ai102 parts build docker-compose`"):
        compose_command(without, {"PATH": str(Path(old).parent), "AI102_CACHE": str(tmp_path / "none")})
