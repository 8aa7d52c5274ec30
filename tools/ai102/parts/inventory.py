"""What `ai102 parts list` shows: every part, and whether it is in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ai102.parts.cache import Cache
from ai102.parts.table import Parts


@dataclass(frozen=True)
class Row:
    name: str
    version: str
    source: str
    needed_for: tuple[str, ...]
    bytes: int | None  # None: not in the cache, as the folder
    folder: str | None
    programs: dict[str, str]  # paths, absolute for a part in the cache

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rows(parts: Parts, names: Sequence[str], cache: Cache) -> list[Row]:
    return [_row(name, parts, cache) for name in names]


def _row(name: str, parts: Parts, cache: Cache) -> Row:
    part = parts.part(name)
    manifest = cache.manifest(name, part)
    folder = cache.folder(name, part)
    size = manifest["bytes"] if manifest else None
    assert size is None or isinstance(size, int)
    programs = {program: str(folder / path) if manifest else path for program, path in part.programs.items()}
    in_cache = str(folder) if manifest else None
    return Row(name, part.version, part.source, part.needed_for, size, in_cache, programs)
