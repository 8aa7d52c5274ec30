"""A Triton Python model carries copies of these modules: they need `cryptography` and nothing of ours."""

import subprocess
import sys
from pathlib import Path

from ai102.configs.configure import FROM_SEAL

SEAL = Path(__file__).parent.parent.parent / "tools" / "ai102" / "seal"
PROGRAM = """
import sys, time
from envelope import Key, open_request, open_response, seal_request, seal_response
from keys import Keys
from replay import OnThisHost
import failures, private
from tensors import Tensor, bytes_from_tensors, tensors_from_bytes
key = Key("a", bytes(32)); ring = Keys({"a": key}, "a"); now = time.time_ns() // 1_000_000
request = seal_request(key, b"hello", "m", now)
opened = open_request(ring, request.envelope, "m", OnThisHost(__import__("pathlib").Path("seen")), now)
answer = seal_response(ring, opened.head, bytes_from_tensors([Tensor("a", "UINT8", (5,), opened.data)]), now)
print(tensors_from_bytes(open_response(key, request.head, answer, now))[0].data)
print(sorted({name.split(".")[0] for name in sys.modules} & {"ai102", "numpy", "pydantic", "typer"}))
"""


def test_copies_work_without_this_package(tmp_path: Path) -> None:
    for name in FROM_SEAL:
        text = (SEAL / f"{name}.py").read_text(encoding="utf-8").replace("from ai102.seal.", "from ")
        assert "ai102." not in "".join(line for line in text.splitlines() if "import" in line), name
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout.splitlines(), done.stderr) == (["b'hello'", "[]"], "")
