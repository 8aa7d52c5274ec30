"""Prepare the backend directory of a pip-installed server: its Python backend, and our own that run on it."""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ai102.errors import UserError
from ai102.serve.installation import Installation
from ai102_runtime.seal.private import NotPrivateError, private_folder

# Triton imports the model.py of a Python-based backend; the code is where this Python finds it.
OUR_BACKENDS = {
    f"{backend}/model.py": f"from ai102_runtime.{room}.backend import TritonPythonModel as TritonPythonModel\n"
    for backend, room in (("onnxruntime", "onnx"), ("openvino", "openvino"))
}
# By its path inside the backend directory: the file to place there, or its text.
Sources = Mapping[str, Path | str]


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


def _sources(installation: Installation) -> Sources:
    """The files of the backend directory."""
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
    return {**sources, **OUR_BACKENDS}


def _content_hash(sources: Sources) -> str:
    digest = hashlib.sha256()
    for name, source in sources.items():
        # The path of a file counts too: two of the files are links to it.
        text, content = (
            (source, source.encode()) if isinstance(source, str) else (source.resolve(), source.read_bytes())
        )
        digest.update(f"{name}\0{text}\0".encode(errors="surrogateescape"))
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def _cache_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    # Whoever has no home folder, as in many containers, gets the temporary one.
    home = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "")) / ".cache")
    if home.is_absolute():
        yield home / "ai102"
    yield Path(tempfile.gettempdir()) / f"ai102-{os.getuid()}"


def _prepared(parent: Path, name: str, sources: Sources) -> Path:
    private_folder(parent)  # code is run from here: nobody else may have put it there
    target = parent / name
    if target.is_dir():
        return target
    building = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
    try:
        for place, source in sources.items():
            _put(source, building / place)
        building.rename(target)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        # Another start may have been first; its folder has the same content.
        if not target.is_dir():
            raise
    return target


def _put(source: Path | str, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    if isinstance(source, str):
        place.write_text(source, encoding="utf-8")
    elif place.suffix == ".so":
        # Triton refuses a link that leads out of the backend directory.
        try:
            os.link(source.resolve(), place)
        except OSError:
            shutil.copy2(source, place)
    else:
        # The stub finds its libraries relative to where it really lies.
        place.symlink_to(source.resolve())
