"""Prepare the backend directory of a pip-installed server: its Python backend, and our ONNX Runtime one."""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ai102.errors import UserError
from ai102.seal.private import NotPrivateError, private_folder
from ai102.serve.installation import Installation

OUR_BACKENDS = Path(__file__).parent / "backends"


def backend_directory_for(installation: Installation, environ: Mapping[str, str]) -> Path | None:
    """The folder for --backend-directory, or None for a server that comes with backends of its own."""
    if not installation.is_from_pip or (installation.backends / "onnxruntime").is_dir():
        return None
    sources = _sources(installation)
    name = f"backends-{_content_hash(sources)}"
    reasons = []
    for parent in _cache_folders(environ):
        try:
            return _prepared(parent, name, sources)
        except OSError as err:
            reasons.append(f"{parent}: {err.strerror or err}")
        except NotPrivateError as err:
            reasons.append(str(err))
    raise UserError(f"no place for Triton's backend directory ({'; '.join(reasons)}): set XDG_CACHE_HOME to a folder")


def _sources(installation: Installation) -> dict[str, Path]:
    """Where each file of the backend directory comes from, by its path inside it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = installation.backends / "python"
    stub = installation.root / "python_backend_stubs" / version / "triton_python_backend_stub"
    sources = {
        "python/libtriton_python.so": python / "libtriton_python.so",
        "python/triton_python_backend_utils.py": python / "triton_python_backend_utils.py",
        "python/triton_python_backend_stub": stub,
    }
    for path in sources.values():
        if not path.is_file():
            raise UserError(f"this tritonserver has no {path.name} for Python {version}: use Python 3.11")
    ours = sorted(OUR_BACKENDS.glob("*/*.py"))
    return sources | {path.relative_to(OUR_BACKENDS).as_posix(): path for path in ours}


def _content_hash(sources: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in sources.items():
        # The place counts too: two of the files are links to it.
        digest.update(f"{name}\0{path.resolve()}\0".encode(errors="surrogateescape"))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _cache_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    # Whoever has no home folder, as in many containers, gets the temporary one.
    home = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "")) / ".cache")
    if home.is_absolute():
        yield home / "ai102"
    yield Path(tempfile.gettempdir()) / f"ai102-{os.getuid()}"


def _prepared(parent: Path, name: str, sources: Mapping[str, Path]) -> Path:
    private_folder(parent)  # code is run from here: nobody else may have put it there
    target = parent / name
    if target.is_dir():
        return target
    building = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
    try:
        for place, source in sources.items():
            _put(source.resolve(), building / place)
        building.rename(target)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        # Another start may have been first; its folder has the same content.
        if not target.is_dir():
            raise
    return target


def _put(source: Path, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    if place.suffix == ".so":
        # Triton refuses a link that leads out of the backend directory.
        try:
            os.link(source, place)
        except OSError:
            shutil.copy2(source, place)
    elif place.parts[-2] == "python":
        # The stub finds its libraries relative to where it really lies.
        place.symlink_to(source)
    else:
        shutil.copyfile(source, place)
