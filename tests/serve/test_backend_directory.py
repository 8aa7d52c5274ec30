"""What the backend directory of a pip-installed server holds, and where it lies."""

import stat
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.serve.backend_directory import backend_directory_for
from ai102.serve.installation import Installation

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
STUB = f"python_backend_stubs/{VERSION}/triton_python_backend_stub"
LIBRARY = "backends/python/libtriton_python.so"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """A folder like that of the pip server."""
    root = tmp_path / "tritonserver"
    for name in ("bin/tritonserver", LIBRARY, "backends/python/triton_python_backend_utils.py", STUB):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return Installation(root / "bin" / "tritonserver", root / "backends", is_from_pip=True)


def prepared(installation: Installation, cache: Path) -> Path:
    found = backend_directory_for(installation, {"XDG_CACHE_HOME": str(cache)})
    assert found is not None
    return found


def test_it_holds_the_python_backend_and_ours(installation: Installation, tmp_path: Path) -> None:
    found = prepared(installation, tmp_path / "cache")
    python = found / "python"
    assert (
        (python / "triton_python_backend_stub").resolve() == installation.root / STUB,
        (python / "triton_python_backend_utils.py").is_symlink(),
        # Triton refuses a link that leads out of the backend directory.
        (python / "libtriton_python.so").is_symlink(),
        *((found / backend / "model.py").is_file() for backend in ("onnxruntime", "openvino")),
    ) == (True, True, False, True, True)


def test_it_is_made_once_and_anew_when_its_content_changes(installation: Installation, tmp_path: Path) -> None:
    first, second = (prepared(installation, tmp_path / "cache") for _ in range(2))
    (installation.root / LIBRARY).write_text("a newer one")
    third = prepared(installation, tmp_path / "cache")
    assert (first == second, first == third, third.name.startswith("backends-")) == (True, False, True)


def test_many_starts_at_once_agree_and_leave_no_half_made_folder(installation: Installation, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: prepared(installation, tmp_path / "cache"), range(16)))
    assert list((tmp_path / "cache" / "ai102").iterdir()) == list(found)


def test_a_server_with_backends_of_its_own_keeps_them(installation: Installation) -> None:
    nvidia = Installation(installation.binary, installation.backends, is_from_pip=False)
    (installation.backends / "onnxruntime").mkdir()
    assert [backend_directory_for(server, {}) for server in (installation, nvidia)] == [None, None]


@pytest.mark.parametrize("environ", [{}, {"HOME": "relative"}, {"XDG_CACHE_HOME": "/dev/null/cache"}])
def test_without_a_home_the_temporary_folder_is_used(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = backend_directory_for(installation, environ)
    assert found is not None
    assert (found.parent.parent, stat.S_IMODE(found.parent.stat().st_mode)) == (tmp_path, 0o700)


def test_a_missing_stub_for_this_python_is_told(installation: Installation, tmp_path: Path) -> None:
    (installation.root / STUB).unlink()
    with pytest.raises(UserError, match=f"no triton_python_backend_stub for Python {VERSION}: use Python 3.11"):
        prepared(installation, tmp_path)
