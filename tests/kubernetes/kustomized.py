"""What `kubectl kustomize` builds, as Python objects; a test that needs it skips where there is no kubectl."""

import functools
import json
import shutil
import subprocess
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
OVERLAYS = ("dev", "staging", "production", "private", "hybrid")
# Jobs are in no overlay: whoever wants them names the component.
JOBS = "jobs"
COMPONENTS = sorted(folder.name for folder in (K8S / "components").iterdir())
# Components that say of the same thing where it comes from.
EITHER_OR = (
    {"model-copy", "model-pvc", "model-s3"},
    {"mesh", "traces"},
    {"keda", "hpa-adapter"},
    {"canary", "canary-blue-green"},
    {"canary-ab", "canary-shadow"},
)
# Components that change what others bring, and come after them.
NEEDS = {
    "jobs-keda": ("jobs",),
    "canary": ("mesh", "quality-gate"),
    "canary-ab": ("canary",),
    "canary-blue-green": ("quality-gate",),
    "canary-keda": ("keda", "canary"),
    "canary-shadow": ("canary",),
}
OLDEST_KUBECTL = 35
# In C, where PyYAML has it: an overlay takes a third of a second in Python.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Manifest = dict[str, Any]


def program_of(part: str, name: str) -> str:
    """Of a part in the cache, or on PATH; the test skips where it is neither."""
    try:
        return str(program(part, name))
    except UserError as err:
        on_path = shutil.which(name)
        if on_path is None:
            pytest.skip(str(err))
        return on_path


@functools.cache
def kubectl_or_skip() -> str:
    """One that replaces images of volumes, too."""
    kubectl = program_of("kubernetes", "kubectl")
    done = subprocess.run(
        [kubectl, "version", "--client", "--output=json"], capture_output=True, text=True, check=True, timeout=60
    )
    minor = int("".join(filter(str.isdecimal, json.loads(done.stdout)["clientVersion"]["minor"])))
    if minor < OLDEST_KUBECTL:
        pytest.skip(f"{kubectl} is of Kubernetes 1.{minor}, wanted 1.{OLDEST_KUBECTL}: `ai102 parts build kubernetes`")
    return kubectl


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
    return _manifests_of_text(text_of(folder))


def _manifests_of_text(text: str) -> list[Manifest]:
    return [manifest for manifest in yaml.load_all(text, LOADER) if manifest]


def overlay(name: str) -> list[Manifest]:
    """An overlay, or the base with jobs."""
    return with_components("base", in_order(["jobs-keda"])) if name == JOBS else manifests_of(K8S / "overlays" / name)


def with_components(base: str, components: Sequence[str]) -> list[Manifest]:
    """The overlay or base in k8s/`base`, with components."""
    return _manifests_of_text(_text_with_components(base, tuple(components)))


@functools.cache
def _text_with_components(base: str, components: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory(dir=K8S, prefix=".test-") as folder:
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"../{base}"],
            "components": [f"../components/{name}" for name in components],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
        return text_of(Path(folder))


def in_order(names: Sequence[str]) -> list[str]:
    """Components with those that they need, each after these."""
    ordered: dict[str, None] = {}
    for name in names:
        ordered |= dict.fromkeys((*in_order(NEEDS.get(name, ())), name))
    return list(ordered)


def overlay_with(name: str, component: str) -> list[Manifest]:
    """An overlay with one more component in its own kustomization."""
    with tempfile.TemporaryDirectory(dir=K8S / "overlays", prefix=".test-") as folder:
        shutil.copytree(K8S / "overlays" / name, folder, dirs_exist_ok=True)
        file = Path(folder) / "kustomization.yaml"
        kustomization = yaml.safe_load(file.read_text(encoding="utf-8"))
        kustomization["components"].append(f"../../components/{component}")
        file.write_text(yaml.safe_dump(kustomization), encoding="utf-8")
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
