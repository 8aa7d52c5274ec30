"""Results with simple figures."""

from loadtest.bench.results import Results, Round, ServerRow, WorkResult
from loadtest.bench.stats import cell_from_rounds


def rounds(*per_s: float, p99_ms: float = 2.0, client_cpu: float = 0.1) -> list[Round]:
    return [Round(per_s=one, p50_ms=1.0, p99_ms=p99_ms, count=10, client_cpu=client_cpu) for one in per_s]


def image_work(**absent: str) -> WorkResult:
    """Triton gRPC at 100 to 300 requests/s, FastAPI at 100, its steps at 400 and 200; `absent` peers have a reason."""
    figures = {
        ("Triton gRPC", 1): (50, 50, 50),
        ("Triton gRPC", 32): (100, 200, 300),
        ("FastAPI", 32): (100, 100, 100),
        ("Triton gRPC, digits_decode", 32): (200, 200, 200),
        ("Triton gRPC, digits_int8", 32): (400, 400, 400),
        ("Triton gRPC, classify_image", 32): (400, 400, 400),
    }
    cells = [
        cell_from_rounds(server, concurrency, rounds(*per_s))
        for (server, concurrency), per_s in figures.items()
        if server not in absent
    ]
    names = dict.fromkeys([*(server for server, _ in figures), *absent])
    rows = [ServerRow(server=name, not_measured=absent.get(name, "")) for name in names]
    return WorkResult(work="image", about="generated", servers=tuple(rows), cells=tuple(cells))


def results(**absent: str) -> Results:
    return Results(
        date="2026-01-01", machine={"cpu": "none"}, versions={}, settings={}, works=(image_work(**absent),), ratios=()
    )
