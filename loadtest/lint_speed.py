"""The time of `ai102 lint` on a large repository: `python -m loadtest.lint_speed` prints it.

The repository holds 200 copies of this project's models under other names, ensembles with their steps.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODELS = 200
ROUNDS = 5


def copies(source: Path, target: Path, models: int) -> int:
    """Copy the models under numbered names until there are `models` of them; returns their number."""
    folders = sorted(folder for folder in source.iterdir() if (folder / "config.pbtxt").is_file())
    names = re.compile('"({})"'.format("|".join(folder.name for folder in folders)))
    copied = 0
    for number in count():
        for folder in folders:
            if copied >= models and folder is folders[0]:
                return copied
            copy = target / f"{folder.name}_{number}"
            shutil.copytree(folder, copy)
            config = copy / "config.pbtxt"
            text = config.read_text(encoding="utf-8")
            config.write_text(names.sub(rf'"\1_{number}"', text), encoding="utf-8")
            copied += 1
    raise AssertionError


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        copied = copies(ROOT / "model_repository", Path(folder), MODELS)
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            done = subprocess.run([sys.executable, "-m", "ai102", "lint", folder], capture_output=True, text=True)
            times.append(time.perf_counter() - start)
            if done.returncode:
                raise SystemExit(done.stdout[-2000:] + done.stderr)
    print(  # noqa: T201
        f"{copied} models: median {statistics.median(times):.2f} s, {min(times):.2f} to {max(times):.2f} s"
        f" ({ROUNDS} runs, the whole process)"
    )


if __name__ == "__main__":
    main()
