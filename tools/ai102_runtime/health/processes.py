"""The processes of Python models under their tritonserver, as /proc tells: those that run, and those that died.

Triton starts none again since 24.06 and does not take note of one that ended, so it stays a zombie. A program in
another container sees no process, and learns nothing here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
# Of a process's name the kernel keeps 15 letters.
STUB, SERVER = "triton_python_backend_stub"[:15], "tritonserver"
# Of the words of its command line; one that ended has none.
INSTANCE = 8


@dataclass(frozen=True)
class Stubs:
    """`running` are the names of instances, such as echo_0_0; `dead` are process numbers."""

    running: tuple[str, ...] = ()
    dead: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _Process:
    pid: int
    name: str
    state: str
    parent: int
    words: tuple[str, ...]


def stubs_of(repository: Path) -> Stubs:
    """Those of each tritonserver here that serves `repository`."""
    processes = list(_processes())
    servers = {
        process.pid
        for process in processes
        if process.name == SERVER and f"--model-repository={repository}" in process.words
    }
    own = [process for process in processes if process.name == STUB and process.parent in servers]
    return Stubs(
        tuple(sorted(process.words[INSTANCE] for process in own if len(process.words) > INSTANCE)),
        frozenset(process.pid for process in own if process.state == "Z"),
    )


def _processes() -> Iterator[_Process]:
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile, or is hidden from us
        name, _, rest = stat.partition("(")[2].rpartition(")")
        state, parent = rest.split()[:2]
        yield _Process(
            int(folder.name), name, state, int(parent), tuple(words.decode("utf-8", "replace").split("\0")[:-1])
        )
