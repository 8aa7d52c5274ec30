"""The options, and the load plan that follows from them."""

import argparse
from typing import Any

import pytest

from ai102.errors import UserError
from loadtest.options import OPTIONS, add_to, effective_options, plan_from_options


def options(*words: str) -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, dest="num_users")
    add_to(parser)
    return parser.parse_args(words)


def test_the_address_decides_the_protocol() -> None:
    assert plan_from_options(options(), "grpc://a:1").urls == {"grpc": "grpc://a:1"}
    assert plan_from_options(options(), "http://a:1/").urls == {"http": "http://a:1"}
    both = options("--http-url", "http://a:2")
    assert plan_from_options(both, "grpc://a:1").urls == {"grpc": "grpc://a:1", "http": "http://a:2"}
    one = options("--http-url", "http://a:2", "--protocol", "http")
    assert plan_from_options(one, "grpc://a:1").urls == {"http": "http://a:2"}


@pytest.mark.parametrize(
    ("words", "reported"),
    [("--shape step", {"think_s", "parameters"}), ("--arrivals poisson", {"rate", "max_in_flight"})],
)
def test_options_without_an_effect_are_not_reported(words: str, reported: set[str]) -> None:
    plan = plan_from_options(options(*words.split()), "grpc://a:1")
    assert effective_options(plan).keys() & {"rate", "think_s", "max_in_flight", "parameters"} == reported


@pytest.mark.parametrize(
    ("words", "host", "sentence"),
    [
        (
            "",
            "a:1",
            '"a:1" is no address of a Triton: write http://HOST:PORT or grpc://HOST:PORT, with TLS https:// or grpcs://',
        ),
        (
            "--protocol mixed",
            "grpc://a:1",
            "--protocol is mixed, but no address uses http: add --http-url http://127.0.0.1:8000",
        ),
        (
            "--protocol grpc",
            "http://a:1",
            "--protocol is grpc, but no address uses grpc: add --grpc-url grpc://127.0.0.1:8001",
        ),
        (
            "--http-url grpc://a:2",
            "grpc://a:1",
            "--http-url is grpc://a:2: write an address that begins with http://",
        ),
        (
            "--grpc-url grpc://a:2",
            "grpc://a:1",
            "--grpc-url is grpc://a:2, but --host is grpc://a:1: give one address for grpc",
        ),
        ("--rate 0", "grpc://a:1", "--rate is 0.0: expected more than 0"),
        ("--rate nan", "grpc://a:1", "--rate is nan: expected more than 0"),
        ("--check-share 10", "grpc://a:1", "--check-share is 10.0: expected a share from 0 to 1"),
        ("--base-percent 200", "grpc://a:1", "--base-percent is 200.0: expected from 0 to 100"),
        ("--users -1", "grpc://a:1", "--users is -1: expected at least 1"),
    ],
)
def test_a_mistake_is_one_line(words: str, host: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        plan_from_options(options(*words.split()), host)
    assert str(refused.value) == sentence


def test_every_option_has_a_default_of_its_type_for_the_web_page() -> None:
    assert {type(default) for group in OPTIONS.values() for _, default, _, _ in group} == {str, int, float}
