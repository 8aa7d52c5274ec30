"""The labels that every image carries: title, version, revision and source, by the names of the OCI."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

PREFIX = "org.opencontainers.image"
LICENSE = "Apache-2.0"
UNKNOWN = "unknown"


def labels_of(title: str, version: str, revision: str, source: str) -> dict[str, str]:
    """The labels, sorted by their names; what is empty reads "unknown"."""
    return {
        f"{PREFIX}.licenses": LICENSE,
        f"{PREFIX}.revision": revision or UNKNOWN,
        f"{PREFIX}.source": source or UNKNOWN,
        f"{PREFIX}.title": title,
        f"{PREFIX}.version": version or UNKNOWN,
    }


def version_of(root: Path) -> str:
    """The version of this project, from its pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def revision_of(root: Path) -> str:
    """The commit that is checked out, with -dirty when files differ from it; "unknown" outside of git."""
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return UNKNOWN
    return f"{commit}-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit


def address_of(root: Path) -> str:
    """Where this project lives, from pyproject.toml's project.urls; "unknown" when it does not say."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project.get("urls", {}).get("Source", UNKNOWN))


def source_of(root: Path) -> str:
    """The project's address, or where this clone came from, without a user or password in it."""
    if (address := address_of(root)) != UNKNOWN:
        return address
    address = _git(root, "config", "--get", "remote.origin.url")
    scheme, separator, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else address or UNKNOWN


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
