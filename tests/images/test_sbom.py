"""Bills of materials: what packages an image has, read from its file system, in CycloneDX that its schema takes."""

import io
import json
import tarfile
from pathlib import Path

from ai102.images.repository import repository_files
from ai102.images.sbom import Package, bom_of_models, bom_of_packages, packages_of_archive
from tests.images.test_models_image import made_repository


def complaint_about(bom: str) -> object:
    """Of CycloneDX's own schema, None for a good one. Imported here: the schema's formats take three seconds."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom)


STATUS = """Package: haproxy
Status: install ok installed
Version: 2.6.12-1+deb12u4
Architecture: amd64

Package: removed
Status: deinstall ok config-files
Version: 1
Architecture: all
"""
METADATA = "Metadata-Version: 2.4\nName: PyJWT\nVersion: 2.15.1\nLicense-Expression: MIT\n\nNot a field: text\n"
DIGEST = "sha256:" + "0" * 64


def archive_of(files: dict[str, str]) -> tarfile.TarFile:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    buffer.seek(0)
    return tarfile.open(fileobj=buffer, mode="r|")


def test_installed_packages_of_debian_and_python_are_found_and_others_are_not() -> None:
    archive = archive_of(
        {
            "var/lib/dpkg/status": STATUS,
            "opt/ai102/lib/python3.11/site-packages/pyjwt-2.15.1.dist-info/METADATA": METADATA,
            "opt/notes/METADATA": "Name: nothing\nVersion: 0\n",
        }
    )
    assert list(packages_of_archive(archive)) == [
        Package("deb", "haproxy", "2.6.12-1+deb12u4", architecture="amd64"),
        Package("pypi", "PyJWT", "2.15.1", "MIT"),
    ]


def test_a_bill_of_packages_keeps_the_schema_and_names_each_by_its_url() -> None:
    packages = [
        Package("deb", "haproxy", "2.6.12-1+deb12u4", architecture="amd64"),
        Package("pypi", "PyJWT", "2.15.1", "MIT"),
    ]
    text = bom_of_packages("ai102/gateway", "0.2.0", DIGEST, packages)
    assert complaint_about(text) is None
    assert sorted(component["purl"] for component in json.loads(text)["components"]) == [
        "pkg:deb/debian/haproxy@2.6.12-1%2Bdeb12u4?arch=amd64&distro=bookworm",
        "pkg:pypi/pyjwt@2.15.1",
    ]


def test_a_bill_of_models_has_the_hash_of_every_file(tmp_path: Path) -> None:
    files = repository_files(made_repository(tmp_path, ["digits", "text"]))
    text = bom_of_models("ai102/models", "1", DIGEST, files)
    assert complaint_about(text) is None
    listed = {
        file["name"]: file["hashes"][0]["content"]
        for model in json.loads(text)["components"]
        for file in model["components"]
    }
    assert listed == {file.path: file.sha256 for file in files}
