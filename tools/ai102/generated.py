"""Files that derive from others and are committed: written, or compared with what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ai102.artifact import write_text

Texts = Mapping[Path, str]


def outdated(texts: Texts) -> list[Path]:
    """The files that are missing or hold another text."""
    return [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def write(texts: Texts) -> list[Path]:
    """Write what differs, for everybody to read; gives it."""
    changed = outdated(texts)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, texts[path])
        path.chmod(0o644)
    return changed
