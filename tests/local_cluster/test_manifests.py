"""Manifests and images of the cluster itself: every file is applied, every image is by digest and the same again."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
import yaml

from ai102.errors import UserError
from ai102.parts import load
from k8s.local import addons, images, manifests, registry
from k8s.local.plan import DNS_SERVICE, DOMAIN
from k8s.local.up import CORE

FOLDERS = [CORE, *(folder for folder in sorted(addons.FOLDER.iterdir()) if folder.is_dir())]
DIGEST = "sha256:" + "a" * 64


def resources(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.yaml") if file.name != "kustomization.yaml")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_manifest_of_a_folder_is_applied(folder: Path) -> None:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert sorted(kustomization.get("resources", [])) == [file.name for file in resources(folder)]


@pytest.mark.parametrize("file", [file for folder in FOLDERS for file in resources(folder)], ids=lambda file: file.name)
def test_a_file_holds_the_resource_that_its_name_says(file: Path) -> None:
    document = yaml.safe_load(file.read_text())
    name, kind, _ = file.name.rsplit(".", 2)
    assert (document["metadata"]["name"], document["kind"].lower()) == (name, kind)


def test_the_dns_has_the_address_and_domain_that_pods_are_told() -> None:
    service = yaml.safe_load((CORE / "kube-dns.service.yaml").read_text())
    corefile = yaml.safe_load((CORE / "coredns.configmap.yaml").read_text())["data"]["Corefile"]
    assert service["spec"]["clusterIP"] == DNS_SERVICE
    assert f"kubernetes {DOMAIN} in-addr.arpa" in corefile


def test_images_are_put_in_by_digest() -> None:
    document = json.loads(manifests.overlay(["../core"], {"coredns": f"docker.io/ai102-cluster/coredns@{DIGEST}"}))
    assert document["resources"] == ["../core"]
    assert document["images"] == [
        {"name": "coredns", "newName": "docker.io/ai102-cluster/coredns", "digest": DIGEST},
    ]


@pytest.mark.parametrize("addon", addons.ADDONS, ids=lambda addon: addon.name)
def test_an_addon_has_a_folder_and_one_that_carries_its_manifests_patches_them(addon: addons.Addon) -> None:
    kustomization = yaml.safe_load((addons.FOLDER / addon.name / "kustomization.yaml").read_text())
    assert kustomization["kind"] == ("Component" if addon.patches else "Kustomization")


def test_addons_are_installed_in_the_order_of_the_table() -> None:
    assert [addon.name for addon in addons.named(["keda", "prometheus"])] == ["prometheus", "keda"]


def test_an_unknown_addon_is_told_with_those_that_are_known() -> None:
    known = ", ".join(addon.name for addon in addons.ADDONS)
    with pytest.raises(UserError, match=f'no add-on "grafana": the add-ons are {known}'):
        addons.named(["grafana"])


def test_an_image_holds_the_program_and_is_not_written_twice(tmp_path: Path) -> None:
    program = tmp_path / "answer"
    program.write_text("#!/bin/sh\n")
    image = images.image_of(program, folder=tmp_path / "images")
    written = (image.folder / "index.json").stat().st_mtime_ns
    again = images.image_of(program, folder=tmp_path / "images")
    (layer,) = image.manifest()["layers"]
    with tarfile.open(image.blob(layer["digest"])) as archive:
        members = {member.name: oct(member.mode) for member in archive}
    assert members == {"bin": "0o755", "bin/answer": "0o755"}
    assert image.config()["config"]["Entrypoint"] == ["/bin/answer"]
    assert (again, (again.folder / "index.json").stat().st_mtime_ns) == (image, written)
    assert registry.name_of(image) == f"docker.io/ai102-cluster/answer@{image.digest}"


def test_another_program_of_the_same_name_is_another_image(tmp_path: Path) -> None:
    program = tmp_path / "answer"
    program.write_text("1")
    first = images.image_of(program, folder=tmp_path / "images")
    program.write_text("2")
    assert images.image_of(program, folder=tmp_path / "images").digest != first.digest


def test_what_lies_beside_a_program_is_in_its_image(tmp_path: Path) -> None:
    program, beside = tmp_path / "agent", tmp_path / "template.json"
    program.write_text("#!/bin/sh\n")
    beside.write_text("{}")
    image = images.image_of(program, folder=tmp_path / "images", beside={"var/lib/template.json": beside})
    (layer,) = image.manifest()["layers"]
    with tarfile.open(image.blob(layer["digest"])) as archive:
        assert archive.getnames() == ["bin", "var", "var/lib", "bin/agent", "var/lib/template.json"]
    beside.write_text("[]")
    other = images.image_of(program, folder=tmp_path / "images", beside={"var/lib/template.json": beside})
    assert other.digest != image.digest


@pytest.mark.parametrize("addon", addons.ADDONS, ids=lambda addon: addon.name)
def test_what_an_addon_takes_of_parts_is_there_in_their_table(addon: addons.Addon) -> None:
    parts = load()
    for part, name in addon.programs.values():
        assert name in parts.part(part).programs
    assert set(addon.beside) <= set(addon.programs)
    for part, name in (source for files in addon.beside.values() for source in files.values()):
        assert name in {**parts.part(part).programs, **parts.part(part).files}


def test_a_program_of_this_machine_brings_its_libraries() -> None:
    shell = Path(shutil.which("sh") or "/bin/sh").resolve()
    names = [path.name for path in images.libraries_of(shell)]
    assert [name for name in names if name.startswith("libc.")] != []
    assert [name for name in names if name.startswith("ld-linux")] != []
