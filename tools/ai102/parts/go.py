"""Parts built from Go modules: a go.mod of ours pins the modules, its go.sum their content."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ai102.errors import UserError
from ai102.parts.cache import Cache, on_path
from ai102.parts.commands import run
from ai102.parts.table import Part
from ai102.progress import Reporter

BUILD = ("-trimpath", "-buildvcs=false", "-mod=readonly")


def download(name: str, part: Part, cache: Cache, reporter: Reporter) -> None:
    """Put the modules into Go's own cache. Raises UserError."""
    with reporter.step(f"downloading the modules of {name}"):
        _go(name, part, cache, "mod", "download")


def make(name: str, part: Part, cache: Cache, folder: Path, reporter: Reporter) -> None:
    """Build the part's main packages into `folder`/bin. Raises UserError."""
    assert part.go is not None
    download(name, part, cache, reporter)
    total = len(_go(name, part, cache, "list", *BUILD, "-deps", *part.go.packages))
    built = 0
    with reporter.step(f"building {name} (packages)") as progress:

        def on_line(line: str) -> None:
            nonlocal built
            built += 1
            progress(min(built, total), total)

        options = ("-v", *BUILD, "-ldflags", "-s -w", "-o", f"{folder / 'bin'}/")
        (folder / "bin").mkdir()
        _go(name, part, cache, "build", *options, *part.go.packages, on_line=on_line)


def _go(
    name: str,
    part: Part,
    cache: Cache,
    verb: str,
    *arguments: str,
    on_line: Callable[[str], None] = lambda line: None,
) -> list[str]:
    go = on_path("go", f"it builds {name}")
    sources = cache.sources / name
    check_version(name, part, sources / "go.mod")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    command = [go, verb, *arguments]
    return run(command, cache.log(name), folder=sources, environment=environment, on_line=on_line, reason=reason)


def check_version(name: str, part: Part, file: Path) -> None:
    assert part.go is not None
    module = re.escape(part.go.module)
    required = re.search(rf"^\s*(?:require )?{module} v(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    version = required.group(1) if required else "no version"
    if version != part.version:
        raise UserError(
            f"parts.{name} in parts.toml is {part.version}, but {file} requires {version} of {part.go.module}: "
            f"write the same version in both"
        )


def reason(lines: Sequence[str]) -> str:
    """Of what Go printed, the line that says why it failed; both sums when a module is not the one of go.sum."""
    text = "\n".join(lines)
    mismatch = re.search(r"verifying (\S+): checksum mismatch\s+downloaded: (\S+)\s+go\.sum:\s+(\S+)", text)
    if mismatch:
        module, downloaded, pinned = mismatch.groups()
        return f"{module.removesuffix('/go.mod')} has the sum {downloaded}, but go.sum wants {pinned}: it was not used"
    return lines[-1]
