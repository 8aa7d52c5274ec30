"""The cache: a folder for each part, version and pin, whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ai102 import artifact
from ai102.errors import UserError
from ai102.parts import table
from ai102.parts.table import Part

MANIFEST = "part.json"
# Counted up when a kind of source arranges its files in another way: every part is then made again.
LAYOUT = 1
# What brings a program that a machine lacks.
ADVICE = {
    "apt-get": "parts of Debian need a Debian or Ubuntu machine",
    "dpkg-deb": "parts of Debian need a Debian or Ubuntu machine",
    "go": "install Go 1.26 or newer",
    "java": "apt-get install default-jre-headless",
    "javac": "apt-get install default-jdk-headless",
    "mvn": "apt-get install maven",
}


@dataclass(frozen=True)
class Cache:
    """Where parts lie (`root`), and the folder with the sources of ours that some need (tools/parts)."""

    root: Path
    sources: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Cache:
        """$AI102_CACHE, else ai102 in the user's cache folder."""
        user = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache"
        root = Path(environ.get("AI102_CACHE") or Path(user) / "ai102")
        return cls(root.absolute(), table.FILE.with_name("parts"))

    @property
    def parts(self) -> Path:
        return self.root / "parts"

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    def log(self, name: str) -> Path:
        """What the programs that make the part printed last."""
        return self.root / "logs" / f"{name}.log"

    def folder(self, name: str, part: Part) -> Path:
        """Where the part lies once it is made. A part of another pin has another folder, so none is ever changed."""
        return self.parts / f"{name}-{part.version}-{self.identity(name, part)[:8]}"

    def identity(self, name: str, part: Part) -> str:
        """A hash of all that decides what the part is: its table, and the files of ours that it is made from."""
        pins = part.model_dump_json(exclude={"needed_for", "runs_on"})
        files = sorted(path for path in (self.sources / name).glob("*") if path.is_file())
        content = [(path.name, artifact.sha256_of_file(path)) for path in files]
        return artifact.sha256_of_text(repr((LAYOUT, pins, content)))

    def manifest(self, name: str, part: Part) -> dict[str, object] | None:
        """What is known about a part that is in the cache, else None."""
        try:
            manifest: dict[str, object] = json.loads((self.folder(name, part) / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return manifest


def program(part: str, name: str = "", *, cache: Cache | None = None, file: Path = table.FILE) -> Path:
    """The program `name` of a part in the cache; by default the one that is called as the part.

    Raises UserError that says what to run when the part is not in the cache, or what it runs on is missing.
    """
    cache = cache or Cache.of(os.environ)
    wanted = table.load(file).part(part)
    name = name or part
    if name not in wanted.programs:
        raise UserError(f"the part {part} has no program {name}: it has {', '.join(wanted.programs)}")
    if cache.manifest(part, wanted) is None:
        raise UserError(f"{part} {wanted.version} is not in the cache {cache.root}: run `ai102 parts build {part}`")
    for needed in wanted.runs_on:
        on_path(needed, f"{part} runs on it")
    return cache.folder(part, wanted) / wanted.programs[name]


def on_path(name: str, why: str) -> str:
    """The path of a program of this machine. Raises UserError that names it, why it is wanted and what brings it."""
    path = shutil.which(name)
    if path is None:
        raise UserError(f"{name} is not on PATH, and {why}: {ADVICE[name]}")
    return path
