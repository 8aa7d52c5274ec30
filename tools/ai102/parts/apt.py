"""A Debian suite asked by apt with lists of its own: nothing of this machine's packages is read or changed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai102 import artifact
from ai102.errors import UserError
from ai102.parts.cache import on_path
from ai102.parts.commands import run
from ai102.progress import Reporter

MIRROR = "AI102_DEBIAN_MIRROR"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Read after the machine's own apt.conf, so that its proxies hold and its hooks do not.
CONFIGURATION = """\
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Update::Pre-Invoke;
#clear DPkg::Post-Invoke;
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "-";
Dir::Etc::Preferences "-";
Dir::Etc::PreferencesParts "-";
Dir::State::Lists "{folder}/lists";
Dir::State::Status "{folder}/status";
Dir::State::Extended_States "{folder}/extended_states";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
// A mirror may be some weeks old. Each package has a checksum of its own in tools/parts.toml.
Acquire::Check-Valid-Until "false";
"""


@dataclass(frozen=True)
class Mirror:
    """Where Debian's packages come from, and the options of its line in sources.list."""

    uri: str
    options: str = f"signed-by={KEYRING}"


def mirror_of(environ: Mapping[str, str]) -> Mirror:
    """$AI102_DEBIAN_MIRROR, else the one that this machine's apt uses. Raises UserError when there is none.

    The variable is an address, or as in sources.list: [signed-by=FILE] ADDRESS.
    """
    if named := environ.get(MIRROR):
        options, _, address = named.removeprefix("[").rpartition("] ")
        return Mirror(address, options) if options else Mirror(named)
    command = [
        on_path("apt-get", "it fetches Debian's packages"),
        "indextargets",
        "--format",
        "$(ORIGIN)|$(LABEL)|$(SITE)",
    ]
    listed = subprocess.run([*command, "Created-By: Packages"], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        origin, label, site = line.split("|", 2)
        if (origin, label) == ("Debian", "Debian"):
            return Mirror(site)
    raise UserError(
        "apt knows no mirror of Debian: on Debian run `apt-get update` once, elsewhere set "
        f"{MIRROR} to the address of one"
    )


class Suite:
    """One suite of a mirror, with its lists in `folder`."""

    def __init__(self, folder: Path, suite: str, mirror: Mirror, log: Path) -> None:
        self._folder = folder
        self._log = log
        self._configuration = folder / "apt.conf"
        for place in ("lists/partial", "cache/archives/partial"):
            (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        artifact.write_text(folder / "sources.list", f"deb [{mirror.options}] {mirror.uri} {suite} main\n")
        artifact.write_text(self._configuration, CONFIGURATION.format(folder=folder))

    def update(self) -> None:
        """Fetch the lists anew where they changed. Raises UserError."""
        run([*self._apt("apt-get"), "--error-on=any", "update"], self._log, reason=_first_error)

    def sums(self, package: str) -> dict[str, str]:
        """The versions that the suite has of a package, and the sha256 of each."""
        stanzas = run([*self._apt("apt-cache"), "show", package], self._log) if self._has(package) else []
        versions: dict[str, str] = {}
        version = ""
        for line in stanzas:
            key, _, value = line.partition(": ")
            if key == "Version":
                version = value
            elif key == "SHA256":
                versions[version] = value
        return versions

    def download(self, package: str, version: str, into: Path, reporter: Reporter) -> Path:
        """The package's file, in the empty folder `into`. Raises UserError."""
        with reporter.step(f"downloading {package} {version} (%)") as progress:

            def on_line(line: str) -> None:
                fields = line.split(":")  # dlstatus:1:41.5:Retrieving file 1 of 1
                if fields[0] == "dlstatus":
                    progress(round(float(fields[2])), 100)

            # apt-get writes into the folder where it runs.
            command = [*self._apt("apt-get"), "-o", "APT::Status-Fd=1", "download", f"{package}={version}"]
            run(command, self._log, folder=into, on_line=on_line, reason=_first_error)
        (file,) = into.glob("*.deb")
        return file

    def _has(self, package: str) -> bool:
        return bool(run([*self._apt("apt-cache"), "pkgnames", package], self._log).count(package))

    def _apt(self, program: str) -> list[str]:
        return [on_path(program, "it fetches Debian's packages"), "-q", "-c", str(self._configuration)]


def _first_error(lines: Sequence[str]) -> str:
    return next((line for line in lines if line.startswith("E: ")), lines[-1])
