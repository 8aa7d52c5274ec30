"""The load shape for Locust, which requests it every second."""

from __future__ import annotations

from locust import LoadTestShape
from locust.env import Environment

from loadtest.options import RUN_TIME_S
from loadtest.shapes import Parameters, users_at

MAX_SPAWN_RATE = 100.0  # Locust warns above this


class PlannedShape(LoadTestShape):
    """Created for --shape; `abstract` keeps Locust from creating it by itself."""

    abstract = True
    use_common_options = True

    def __init__(self, environment: Environment, name: str, parameters: Parameters) -> None:
        super().__init__()
        self.environment, self.name, self.parameters = environment, name, parameters
        self.runner = environment.runner

    def tick(self) -> tuple[int, float] | None:
        """The target number of users and the spawn rate; None when the time is over."""
        options = self.environment.parsed_options
        elapsed = self.get_run_time() / (options.run_time or RUN_TIME_S)
        if elapsed >= 1:
            return None
        full = options.num_users or 1
        return users_at(self.name, elapsed, full, self.parameters), options.spawn_rate
