"""The error rates of a judgement, and how the checks share them."""

from __future__ import annotations

from typing import Final

# A good release is stopped at most this often, by all checks together.
WRONG_STOPS: Final = 0.01
# A release that loses EXCLUDED_DROP of the answers is promoted at most this often.
WRONG_PROMOTIONS: Final = 0.05
# The share of each check. One that judges several streams, such as pipelines, divides its share among them.
SHARES: Final = {
    "balance at the end": 0.005,
    "balance at every look": 0.0005,
    "right score": 0.0005,
    "calibration": 0.0003,
    "distance": 0.0005,
    "floor": 0.0002,
    "errors": 0.001,
    "identity": 0.0002,
    "formats": 0.0003,
    "slower": 0.0006,
    "late": 0.0003,
    "memory": 0.0003,
    "live answers": 0.0002,
    "live drift": 0.0001,
}
# Of WRONG_PROMOTIONS, by how a drop is excluded: few lost answers, or as many won.
PASSES: Final = {"few lost": 0.04, "balance": 0.01}
assert sum(SHARES.values()) <= WRONG_STOPS
assert sum(PASSES.values()) <= WRONG_PROMOTIONS
