"""The shape of load as Locust asks for it, second by second."""

from __future__ import annotations

from locust import LoadTestShape
from locust.env import Environment

from loadtest.options import RUN_TIME_S
from loadtest.shapes import Parameters, users_at

MAX_SPAWN_RATE = 100.0  # more at once is a mistake, says Locust


class PlannedShape(LoadTestShape):
    """Made when --shape asks for it, so Locust must not make one of its own."""

    abstract = True
    use_common_options = True

    def __init__(self, environment: Environment, name: str, parameters: Parameters) -> None:
        super().__init__()
        self.environment, self.name, self.parameters = environment, name, parameters
        self.runner = environment.runner

    def tick(self) -> tuple[int, float] | None:
        """The users that there should be and how many a second may come or go; None when the time is over."""
        options = self.environment.parsed_options
        over = self.get_run_time() / (options.run_time or RUN_TIME_S)
        if over >= 1:
            return None
        full = options.num_users or 1
        return users_at(self.name, over, full, self.parameters), options.spawn_rate
