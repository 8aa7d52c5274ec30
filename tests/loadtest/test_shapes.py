"""Load shapes."""

import pytest

from loadtest.shapes import Parameters, users_at

OVER = (0.0, 0.03, 0.25, 0.45, 0.5, 0.61, 0.75, 0.99)


@pytest.mark.parametrize(
    ("shape", "users"),
    [
        ("step", [25, 25, 50, 50, 75, 75, 100, 100]),
        ("spike", [10, 10, 10, 100, 100, 10, 10, 10]),
        ("soak", [1, 60, 100, 100, 100, 100, 100, 100]),
        ("day", [10, 11, 55, 98, 100, 90, 55, 10]),
    ],
)
def test_a_shape_has_its_users_at_each_time(shape: str, users: list[int]) -> None:
    assert [users_at(shape, over, 100, Parameters(steps=4, base=0.1)) for over in OVER] == users


def test_there_is_always_one_user() -> None:
    assert users_at("day", 0.0, 3, Parameters(base=0.0)) == 1
