"""A bill of materials for each image, in CycloneDX: Debian's and Python's packages, or the files of the models."""

from __future__ import annotations

import tarfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import PurePosixPath
from typing import IO

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from ai102.errors import UserError
from ai102.images.docker import Docker
from ai102.images.repository import RepositoryFile

DPKG_STATUS = "var/lib/dpkg/status"
OURS = uuid.UUID("0f6a0c1e-2e2b-5b6e-9d53-a1020a102015")


@dataclass(frozen=True, order=True)
class Package:
    """What a package manager installed: "deb" or "pypi"."""

    kind: str
    name: str
    version: str
    license: str = ""
    architecture: str = ""

    @property
    def url(self) -> PackageURL:
        if self.kind == "deb":
            return PackageURL(
                "deb", "debian", self.name, self.version, {"arch": self.architecture, "distro": "bookworm"}
            )
        return PackageURL("pypi", None, self.name.lower().replace("_", "-"), self.version)


def packages_of_image(docker: Docker, reference: str) -> list[Package]:
    """All packages in an image's file system, read without running anything of it."""
    if not docker.image_id(reference):
        raise UserError(f"{reference}: not built yet; run `make image`")
    container = docker.run("create", reference, "none")
    try:
        export = docker.popen("export", container)
        assert export.stdout is not None
        with export, tarfile.open(fileobj=export.stdout, mode="r|") as archive:
            return sorted(set(packages_of_archive(archive)))
    finally:
        docker.run("rm", container)


def packages_of_archive(archive: tarfile.TarFile) -> Iterator[Package]:
    """What dpkg's status and the METADATA of Python's distributions name, wherever they lie."""
    for member in archive:
        path = PurePosixPath(member.name)
        is_metadata = path.name == "METADATA" and path.parent.suffix == ".dist-info"
        if not member.isfile() or not (is_metadata or member.name.removeprefix("./") == DPKG_STATUS):
            continue
        file = archive.extractfile(member)
        assert file is not None
        yield from [_python_package(file)] if is_metadata else _debian_packages(file)


def bom_of_packages(title: str, version: str, digest: str, packages: Iterable[Package]) -> str:
    """The bill of an image that Docker built, as JSON."""
    return _json(title, version, digest, [_component(package) for package in packages])


def bom_of_models(title: str, version: str, digest: str, files: Iterable[RepositoryFile]) -> str:
    """The bill of the models image, as JSON: each model with the hashes of its files."""
    files = list(files)
    models = [
        Component(
            name=model,
            type=ComponentType.MACHINE_LEARNING_MODEL,
            version=version,
            bom_ref=model,
            components=[_file_component(file) for file in files if file.model == model],
        )
        for model in sorted({file.model for file in files})
    ]
    return _json(title, version, digest, models)


def _json(title: str, version: str, digest: str, components: list[Component]) -> str:
    image = Component(
        name=title,
        type=ComponentType.CONTAINER,
        version=version,
        bom_ref=title,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))],
    )
    bom = Bom(components=components, serial_number=uuid.uuid5(OURS, digest))
    bom.metadata.component = image
    bom.register_dependency(image, components)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1) + "\n"


def _component(package: Package) -> Component:
    licenses = [LicenseFactory().make_from_string(package.license)] if package.license else []
    return Component(
        name=package.name,
        type=ComponentType.LIBRARY,
        version=package.version,
        licenses=licenses,
        purl=package.url,
        bom_ref=package.url.to_string(),
    )


def _file_component(file: RepositoryFile) -> Component:
    digest = HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)
    return Component(name=file.path, type=ComponentType.FILE, hashes=[digest], bom_ref=file.path)


def _python_package(file: IO[bytes]) -> Package:
    fields = HeaderParser().parsestr(file.read().decode("utf-8", "replace"), headersonly=True)
    return Package("pypi", fields["Name"], fields["Version"], fields.get("License-Expression", ""))


def _debian_packages(file: IO[bytes]) -> Iterator[Package]:
    for paragraph in file.read().decode("utf-8", "replace").split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if "Version" in fields and fields.get("Status", "").endswith(" installed"):
            yield Package("deb", fields["Package"], fields["Version"], architecture=fields["Architecture"])
