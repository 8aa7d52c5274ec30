"""Parts built or taken from Go modules: a go.mod of ours pins the modules, its go.sum their content."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ai102.errors import UserError
from ai102.parts.cache import Cache, on_path
from ai102.parts.commands import run
from ai102.parts.table import Part
from ai102.progress import Reporter

BUILD = ("-trimpath", "-buildvcs=false", "-mod=readonly")
# Files of a part below it are copied from the module.
FROM_MODULE = "module"


def download(name: str, part: Part, cache: Cache, reporter: Reporter) -> None:
    """Put the modules into Go's own cache. Raises UserError."""
    with reporter.step(f"downloading the modules of {name}"):
        _go(name, part, cache, "mod", "download")


def make(name: str, part: Part, cache: Cache, folder: Path, reporter: Reporter) -> None:
    """Build the part's main packages, where it has some, into `folder`/bin, and copy its files. Raises UserError."""
    assert part.go is not None
    download(name, part, cache, reporter)
    if part.go.packages:
        _build(name, part, cache, folder, reporter)
    _copy_files(name, part, cache, folder)


def _build(name: str, part: Part, cache: Cache, folder: Path, reporter: Reporter) -> None:
    assert part.go is not None
    tags = ("-tags", ",".join(part.go.tags)) if part.go.tags else ()
    total = len(_go(name, part, cache, "list", *BUILD, *tags, "-deps", *part.go.packages))
    built = 0
    with reporter.step(f"building {name} (packages)") as progress:

        def on_line(line: str) -> None:
            nonlocal built
            built += 1
            progress(min(built, total), total)

        options = ("-v", *BUILD, *tags, "-ldflags", _linker_flags(part), "-o", f"{folder / 'bin'}/")
        (folder / "bin").mkdir()
        _go(name, part, cache, "build", *options, *part.go.packages, on_line=on_line)
    _link(part.go.links, folder / "bin")


def _linker_flags(part: Part) -> str:
    assert part.go is not None
    variables = {key: value.replace("{version}", part.version) for key, value in part.go.variables.items()}
    return " ".join(["-s", "-w", *(f"-X {key}={value}" for key, value in variables.items())])


def _link(names: Sequence[str], folder: Path) -> None:
    """Other names for the one program of `folder`, which then looks at the name that it is called with."""
    if names:
        (program,) = folder.iterdir()
        for name in names:
            (folder / name).symlink_to(program.name)


def _copy_files(name: str, part: Part, cache: Cache, folder: Path) -> None:
    assert part.go is not None
    wanted = [Path(path) for path in part.files.values() if Path(path).parts[0] == FROM_MODULE]
    if not wanted:
        return
    assert part.go.module is not None
    module = Path(_go(name, part, cache, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", part.go.module)[-1])
    for path in wanted:
        source = module / path.relative_to(FROM_MODULE)
        if not source.exists():
            raise UserError(f"parts.{name}.files in parts.toml: {part.go.module} {part.version} has no {source.name}")
        for file in source.rglob("*") if source.is_dir() else [source]:
            if file.is_file():
                target = folder / FROM_MODULE / file.relative_to(module)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)  # without the mode: the modules of Go's cache are read-only


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
    if part.go.module is None:
        return
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
