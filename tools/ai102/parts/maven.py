"""Parts from Maven artifacts: a pom of ours names the jars, sha256sums beside it has the checksum of each."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ai102.errors import UserError
from ai102.parts import checksum
from ai102.parts.cache import Cache, on_path
from ai102.parts.commands import run
from ai102.parts.table import Part
from ai102.progress import Reporter

SUMS = "sha256sums"


def make(name: str, part: Part, cache: Cache, folder: Path, reporter: Reporter) -> None:
    """Jars in `folder`/lib, classes of ours in classes/, launchers (*.sh) in bin/. Raises UserError."""
    assert part.maven is not None
    sources = cache.sources / name
    sums = checksum.from_file(sources / SUMS)
    jar = f"{part.maven.artifact}-{part.version}"
    if not any(file.startswith(jar) for file in sums):
        raise UserError(f"parts.{name} in parts.toml is {part.version}, but {sources / SUMS} has no {jar}*.jar")
    _jars(name, cache, folder / "lib", len(sums), reporter)
    checksum.check_folder(folder / "lib", sums, str(sources / SUMS))
    if classes := sorted(sources.glob("*.java")):
        javac = on_path("javac", f"it compiles {name}")
        options = ["-cp", f"{folder / 'lib'}/*", "-d", str(folder / "classes")]
        run([javac, *options, *classes], cache.log(name), reason=lambda lines: lines[0])
    (folder / "bin").mkdir()
    for launcher in sources.glob("*.sh"):
        target = folder / "bin" / launcher.stem
        shutil.copyfile(launcher, target)
        target.chmod(0o755)


def _jars(name: str, cache: Cache, into: Path, total: int, reporter: Reporter) -> None:
    maven = on_path("mvn", f"it fetches the jars of {name}")
    downloaded = 0
    with reporter.step(f"downloading the jars of {name}") as progress:

        def on_line(line: str) -> None:
            nonlocal downloaded
            if "Downloaded from " in line and ".jar " in line:
                downloaded += 1
                progress(min(downloaded, total), total)

        pom = cache.sources / name / "pom.xml"
        command = [maven, "--batch-mode", "--file", str(pom), "dependency:copy-dependencies"]
        run([*command, f"-DoutputDirectory={into}"], cache.log(name), on_line=on_line, reason=_first_error)


def _first_error(lines: Sequence[str]) -> str:
    return next((line for line in lines if line.startswith("[ERROR]")), lines[-1])
