"""The masker's speed on one core, in MB of UTF-8 per second: access logs, server logs, JSON logs, Chinese prose.

.venv/bin/python -m loadtest.masking_speed
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ai102.masking import Masker

ROUNDS = 5
BYTES = 2_000_000
LINES = {
    "access log, an address in every line": (
        '10.20.30.40:51234 - "POST /v2/models/digits/infer HTTP/1.1" 200 1834 request=7f3a-{n} subject=u{n} ms=1.734'
    ),
    "server log, nothing to mask": (
        "2026-11-25T02:34:{s:02d}.123456Z INFO batch {n}: 8 requests of shape 8x3x224x224 in 12.734 ms, queue 1.2 ms"
    ),
    "JSON log, a secret and a phone in every line": (
        '{{"time": "2026-11-25T02:34:{s:02d}Z", "level": "info", "request": {n}, "token": "abc{n}", '
        '"phone": "13800138000"}}'
    ),
    "Chinese prose, a phone in every line": (
        "第{n}位用户登录成功，电话13800138000，共识别图片三张，用时十二毫秒，未发现异常情况"  # noqa: RUF001
    ),
}


def main() -> None:
    masker = Masker.of(Path(__file__).parent.parent / "masking.toml")
    print(f"Python {sys.version.split()[0]}, median of {ROUNDS} rounds of {BYTES / 1e6:g} MB")  # noqa: T201
    for name, pattern in LINES.items():
        lines = lines_of(pattern)
        text = "\n".join(lines)

        def line_by_line(lines: list[str] = lines) -> None:
            for line in lines:
                masker.mask(line)

        def whole(text: str = text) -> None:
            masker.mask(text)

        size = len(text.encode())
        print(f"{name}: {rate(line_by_line, size):.1f} MB/s line by line, {rate(whole, size):.1f} MB/s as one text")  # noqa: T201


def lines_of(pattern: str) -> list[str]:
    lines, size = list[str](), 0
    while size < BYTES:
        lines.append(pattern.format(n=len(lines), s=len(lines) % 60))
        size += len(lines[-1].encode()) + 1
    return lines


def rate(work: Callable[[], None], size: int) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return size / 1e6 / statistics.median(times)


if __name__ == "__main__":
    main()
