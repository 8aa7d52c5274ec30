"""Find a tritonserver on this machine, and the environment it needs to run in."""

import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ai102.errors import UserError

NVIDIA_ROOT = Path("/opt/tritonserver")
ALLOCATORS = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")
LOADER_CACHE = Path("/etc/ld.so.cache")
# Where the loader looks after its cache; enough for x86-64 and arm64 of Debian and Ubuntu.
LOADER_DEFAULTS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu")


@dataclass(frozen=True)
class Installation:
    """One tritonserver: its binary, the folder its backends lie in, and whether pip put it there."""

    binary: Path
    backends: Path
    is_from_pip: bool

    @property
    def root(self) -> Path:
        """The folder that holds bin, backends and caches."""
        return self.binary.parent.parent


def installed_tritonserver(
    search_path: str | None = None, nvidia_root: Path = NVIDIA_ROOT, pip_package: str = "pytriton"
) -> Installation:
    """The first of: an ELF file named tritonserver on PATH, NVIDIA's own folder, the package of pip."""
    folders = (os.environ.get("PATH", "") if search_path is None else search_path).split(os.pathsep)
    on_path = (Path(folder) / "tritonserver" for folder in folders if folder)
    for binary in (*on_path, nvidia_root / "bin" / "tritonserver"):
        if _is_program(binary):
            return _installation_from_binary(binary.resolve(), nvidia_root)
    root = _package_folder(pip_package)
    if root is not None and _is_program(root / "tritonserver" / "bin" / "tritonserver"):
        root = root / "tritonserver"
        return Installation(root / "bin" / "tritonserver", root / "backends", is_from_pip=True)
    raise UserError(
        "no tritonserver on PATH, in /opt/tritonserver or from pip: run `make engine`, "
        "or `pip install nvidia-pytriton==0.7.0`, or work inside NVIDIA's tritonserver container"
    )


def server_environment(installation: Installation, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with this Python first on PATH, its libpython, and tcmalloc where the machine has it.

    NVIDIA's server brings its own Python, so its environment is left alone.
    Raises UserError when no libpython of this Python's version is found.
    """
    environment = dict(environ)
    if not installation.is_from_pip:
        return environment
    # Triton's stub asks the first python3 on PATH where numpy and onnxruntime are.
    scripts = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([scripts, *filter(None, [environ.get("PATH")])])
    soname = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    library_path = environ.get("LD_LIBRARY_PATH", "")
    extra = libpython_folder(soname, _loader_folders(soname, library_path), _python_folders())
    if extra is not None:
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(extra), library_path]))
    return environment | allocator(environ)


def allocator(environ: Mapping[str, str]) -> dict[str, str]:
    """LD_PRELOAD with tcmalloc, which NVIDIA recommends to Triton, if it is installed; a LD_PRELOAD given stays."""
    library_path = environ.get("LD_LIBRARY_PATH", "")
    if "LD_PRELOAD" not in environ:
        for soname in ALLOCATORS:
            if any((folder / soname).exists() for folder in _loader_folders(soname, library_path)):
                return {"LD_PRELOAD": soname}
    return {}


def libpython_folder(soname: str, loader_folders: Iterable[Path], python_folders: Iterable[Path]) -> Path | None:
    """None when the loader finds `soname` by itself, else the folder to put on LD_LIBRARY_PATH."""
    if any((folder / soname).exists() for folder in loader_folders):
        return None
    for folder in python_folders:
        if (folder / soname).exists():
            return folder
    package = soname.removesuffix(".so.1.0")
    raise UserError(f"tritonserver needs {soname}: run `apt-get install {package}`, or run `make engine` again")


def _is_program(path: Path) -> bool:
    # Our own console script has the same name, lies on PATH and is a Python script.
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF" and os.access(path, os.X_OK)
    except OSError:
        return False


def _installation_from_binary(binary: Path, nvidia_root: Path) -> Installation:
    root = binary.parent.parent
    if (root / "python_backend_stubs").is_dir():
        return Installation(binary, root / "backends", is_from_pip=True)
    backends = root / "backends"
    return Installation(binary, backends if backends.is_dir() else nvidia_root / "backends", is_from_pip=False)


def _package_folder(package: str) -> Path | None:
    # find_spec does not import: the package itself takes a second to import, and logs.
    spec = find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _loader_folders(soname: str, library_path: str) -> Iterator[Path]:
    yield from (Path(folder) for folder in library_path.split(os.pathsep) if folder)
    yield from (Path(folder) for folder in LOADER_DEFAULTS)
    if LOADER_CACHE.is_file():
        pattern = rb"(/[^\0]*)/" + re.escape(soname.encode()) + rb"\0"
        yield from (Path(os.fsdecode(folder)) for folder in re.findall(pattern, LOADER_CACHE.read_bytes()))


def _python_folders() -> Iterator[Path]:
    yield from (Path(folder) for folder in [sysconfig.get_config_var("LIBDIR")] if folder)
    # The bootstrap unpacks the library here when the user may not install packages.
    yield Path(sys.prefix) / "lib"
