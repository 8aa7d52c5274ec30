"""Triton's OpenTelemetry mode: the arguments with which tritonserver sends its spans to a collector."""

from __future__ import annotations

import re

from ai102.errors import UserError

SERVICE = "triton"
# Spans wait so long in the server before they are sent; Triton's own default is 5 s.
SEND_EVERY_MS = 1000


def tracing_arguments(collector: str, instance: str) -> list[str]:
    """For tritonserver: trace the inferences that have a traceparent, and no others.

    Triton traces every request with a traceparent, whatever its flag of sampling says: whoever asks decides. `rate` is
    for requests without one, and 0 leaves all of those out. `collector` is its OTLP over HTTP, as http://HOST:4318.
    Raises UserError for another form.
    """
    if not re.fullmatch(r"https?://[^\s/,]+/?", collector):
        raise UserError(f"--traces is {collector!r}: write where the collector takes OTLP over HTTP, http://HOST:4318")
    settings = (
        "mode=opentelemetry",
        "level=TIMESTAMPS",
        "rate=0",
        f"opentelemetry,url={collector.rstrip('/')}/v1/traces",
        f"opentelemetry,bsp_schedule_delay={SEND_EVERY_MS}",
        f"opentelemetry,resource=service.name={SERVICE}",
        f"opentelemetry,resource=service.instance.id={instance}",
    )
    return [f"--trace-config={setting}" for setting in settings]
