"""What is said of a server that does not answer, or answers with something else: one line."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ai102.prometheus.api import QueryError, instant
from ai102.prometheus.exposition import scraped
from ai102.prometheus.fetching import NoAnswerError
from tests.ports import free_port

METRICS = """# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{pipeline="a"} 3
# TYPE nv_inference_count counter
nv_inference_count{model="m"} 7
# TYPE seconds histogram
seconds_bucket{le="0.1"} 2
seconds_bucket{le="+Inf"} 3
seconds_sum 0.4
seconds_count 3
# TYPE summary summary
summary{quantile="0.99"} NaN
"""


@contextmanager
def server(status: int, body: str) -> Iterator[str]:
    """Answers every GET with that."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join()


def test_metrics_are_read_by_name_and_labels_and_what_is_no_number_is_left_out() -> None:
    with server(200, METRICS) as url:
        scrape = scraped(f"{url}/metrics", 5)
    assert scrape.of("calls_total") == (({"pipeline": "a"}, 3.0),)
    assert scrape.of("nv_inference_count") == (({"model": "m"}, 7.0),)
    assert [sample.labels["le"] for sample in scrape.of("seconds_bucket")] == ["0.1", "+Inf"]
    assert (scrape.of("summary"), scrape.of("no_such_name")) == ((), ())


def test_nobody_who_listens_is_one_line() -> None:
    port = free_port()
    with pytest.raises(
        NoAnswerError, match=rf"^http://127.0.0.1:{port}/metrics does not answer \(Connection refused\)$"
    ):
        scraped(f"http://127.0.0.1:{port}/metrics", 5)


def test_one_who_listens_and_is_silent_is_one_line_after_the_time() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(NoAnswerError, match=r"does not answer within 0\.2 s$"):
            scraped(f"http://127.0.0.1:{listener.getsockname()[1]}/metrics", 0.2)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, "", "answers with status 404$"),
        (200, "<html><body>hello</body></html>", "answers, but not with metrics"),
        (200, "", "answers, but with no metrics$"),
    ],
)
def test_another_server_is_one_line(status: int, body: str, said: str) -> None:
    with server(status, body) as url, pytest.raises(NoAnswerError, match=said):
        scraped(f"{url}/metrics", 5)


@pytest.mark.parametrize(
    ("status", "body"), [(200, "<html>"), (200, "[]"), (404, "page not found"), (200, '{"status": "success"}')]
)
def test_what_is_no_prometheus_is_one_line(status: int, body: str) -> None:
    with server(status, body) as url, pytest.raises(NoAnswerError, match="answers, but not as a Prometheus does"):
        instant(url, "up")


def test_a_query_that_is_not_taken_is_told_in_its_words() -> None:
    complaint = '{"status": "error", "errorType": "bad_data", "error": "parse error: unexpected end"}'
    with server(400, complaint) as url, pytest.raises(QueryError, match=r"does not take sum\(: parse error"):
        instant(url, "sum(")
