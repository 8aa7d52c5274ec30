"""Makes the parts that are asked for: each whole or not at all, by one process, and not again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai102 import artifact
from ai102.errors import UserError
from ai102.parts import debian, go, maven, pypi
from ai102.parts.cache import MANIFEST, Cache
from ai102.parts.lock import only_one
from ai102.parts.table import Part, Parts
from ai102.progress import Reporter

Make = Callable[[str, Part, Cache, Path, Reporter], None]
Download = Callable[[str, Part, Cache, Reporter], None]


@dataclass(frozen=True)
class Kind:
    """How parts of one kind of source are made; `download` alone where making them takes a compiler for minutes."""

    make: Make
    download: Download | None = None


KINDS = {
    "debian": Kind(debian.make),
    "go": Kind(go.make, go.download),
    "maven": Kind(maven.make),
    "pypi": Kind(pypi.make),
}


def build(parts: Parts, names: Sequence[str], cache: Cache, reporter: Reporter) -> None:
    """Make the parts that are not in the cache. One that fails does not stop the next.

    Raises UserError with a line for each that failed.
    """
    _each(names, lambda name: _build(name, parts.part(name), cache, reporter))


def fetch(parts: Parts, names: Sequence[str], cache: Cache, reporter: Reporter) -> None:
    """The same, but of parts that must be built the sources are downloaded only."""
    _each(names, lambda name: _fetch(name, parts.part(name), cache, reporter))


def _each(names: Sequence[str], work: Callable[[str], None]) -> None:
    errors: list[str] = []
    for name in names:
        try:
            work(name)
        except UserError as err:
            errors.append(f"{name}: {err}")
    if errors:
        raise UserError("\n".join(errors))


def _fetch(name: str, part: Part, cache: Cache, reporter: Reporter) -> None:
    download = KINDS[part.kind].download
    if download is None:
        _build(name, part, cache, reporter)
    elif cache.manifest(name, part) is None:
        download(name, part, cache, reporter)
        reporter.say(f"{name} {part.version}: its sources are here; `ai102 parts build {name}` builds it")


def _build(name: str, part: Part, cache: Cache, reporter: Reporter) -> None:
    target = cache.folder(name, part)
    if cache.manifest(name, part) is not None:
        return
    with only_one(
        cache.parts / f".{name}.lock", lambda: reporter.say(f"waiting for another process that makes {name}")
    ):
        if cache.manifest(name, part) is not None:
            return
        artifact.sweep(cache.root, ["parts", "downloads"])
        cache.log(name).unlink(missing_ok=True)
        with artifact.temporary_folder(cache.parts) as temporary:
            folder = temporary / target.name
            folder.mkdir(0o755)
            KINDS[part.kind].make(name, part, cache, folder, reporter)
            _check_programs(name, part, folder)
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
            manifest = {"name": name, "version": part.version, "source": part.source, "bytes": size}
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
            folder.rename(target)
    reporter.say(f"{name} {part.version}: {target}")


def _check_programs(name: str, part: Part, folder: Path) -> None:
    for program, path in part.programs.items():
        file = folder / path
        if not (file.is_file() and file.stat().st_mode & 0o111):
            raise UserError(f"parts.{name}.programs in parts.toml: {program} is {path}, but no such program was made")
