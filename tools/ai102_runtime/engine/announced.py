"""Which engine computes a model, in the server's log and as a metric of its own."""

from collections.abc import Mapping
from typing import Any

import triton_python_backend_utils as pb_utils  # only inside Triton

from ai102_runtime.engine.engine import ENGINE_METRIC


def announced(args: Mapping[str, str], title: str) -> tuple[Any, ...]:
    """Log it and count it; `args` are those of `initialize`. The metric goes with what is returned.

    A server without metrics has the line in its log alone.
    """
    pb_utils.Logger.log_info(f"{args['model_name']}: computed by {title}")
    try:
        family = pb_utils.MetricFamily(
            name=ENGINE_METRIC, description="The engine that computes a model", kind=pb_utils.MetricFamily.GAUGE
        )
        labels = {"model": args["model_name"], "version": args["model_version"], "engine": title}
        metric = family.Metric(labels=labels)
        metric.set(1)
    except pb_utils.TritonModelException:
        return ()
    return family, metric
