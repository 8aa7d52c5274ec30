"""A judgement as two files: JSON for programs, a page for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.errors import UserError
from ai102.judging.judgement import Judgement
from ai102.judging.page import html_of


def write(
    judgement: Judgement, folder: Path, name: str = "judgement", live: Mapping[str, Any] | None = None
) -> tuple[Path, Path]:
    """Write `folder`/`name`.json and .html, each whole or not at all; `live` as Judgement.as_dict takes it.

    Raises UserError where the folder is none.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out: {folder} is a file: name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    facts = judgement.as_dict(live)
    files = folder / f"{name}.json", folder / f"{name}.html"
    artifact.write_text(files[0], json.dumps(facts, indent=1) + "\n")
    artifact.write_text(files[1], html_of(facts))
    return files
