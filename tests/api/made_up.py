"""How many made-up requests a route gets."""

from hypothesis import HealthCheck, Phase, settings

BOUNDED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
