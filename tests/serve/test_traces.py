"""The settings of Triton's OpenTelemetry mode, and a server whose collector is not there."""

import time

import numpy as np
import pytest

from ai102.client import Client
from ai102.errors import UserError
from ai102.serve.server import Server
from ai102.serve.traces import tracing_arguments
from tests.e2e.conftest import StartServer, start_server  # noqa: F401 - a fixture
from tests.gateway.conftest import ECHO_CODE, ECHO_CONFIG

ECHO = {"echo": {"config.pbtxt": ECHO_CONFIG.format(name="echo"), "1/model.py": ECHO_CODE}}


def test_the_server_is_told_where_its_spans_go_and_whose_they_are() -> None:
    assert tracing_arguments("http://127.0.0.1:4318/", "a") == [
        "--trace-config=mode=opentelemetry",
        "--trace-config=level=TIMESTAMPS",
        "--trace-config=rate=0",
        "--trace-config=opentelemetry,url=http://127.0.0.1:4318/v1/traces",
        "--trace-config=opentelemetry,bsp_schedule_delay=1000",
        "--trace-config=opentelemetry,resource=service.name=triton",
        "--trace-config=opentelemetry,resource=service.instance.id=a",
    ]


@pytest.mark.parametrize("url", ["127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces", "http://a b:1", "http://"])
def test_another_form_of_address_is_one_line(url: str) -> None:
    with pytest.raises(UserError, match=r"^--traces is '.*': write where the collector takes OTLP over HTTP"):
        tracing_arguments(url, "a")


@pytest.mark.e2e
def test_a_collector_that_is_not_there_slows_no_call_and_no_stop(start_server: StartServer) -> None:  # noqa: F811
    server: Server = start_server(ECHO, extra_arguments=tracing_arguments("http://127.0.0.1:9", "a"))
    with Client(f"grpc://{server.grpc_url}", shared_memory=False) as client:
        slowest_s = max(_seconds(client, number) for number in range(1, 301))
    assert slowest_s < 2, "the machine may be busy; a call that waits for the collector takes 10 s"
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 15


def _seconds(client: Client, number: int) -> float:
    began = time.monotonic()
    traceparent = f"00-{number:032x}-{number:016x}-01"
    client.infer("echo", {"IN": np.zeros(1, np.uint8)}, traceparent=traceparent)
    return time.monotonic() - began
