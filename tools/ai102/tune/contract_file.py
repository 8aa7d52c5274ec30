"""Writes a candidate's changed values into models.toml; comments and everything else stay the same."""

from __future__ import annotations

from typing import Any

from ai102.contract import Network, edits
from ai102.tune.candidate import Candidate, candidate_of, warm_sizes

# By table of the network: its keys, each with the field of a Candidate that it holds.
KEYS = {
    "batching": {key: key for key in ("max_batch_size", "max_queue_delay_us", "preferred_batch_sizes")},
    "instances": {"count": "instances", "threads": "threads"},
}


def with_candidate(text: str, name: str, network: Network, candidate: Candidate) -> str:
    """`text` of models.toml with the candidate in [networks.NAME]. Raises UserError where that is not such a table."""
    before = candidate_of(network)
    values: dict[str, dict[str, Any]] = {
        table: {
            key: _plain(getattr(candidate, field))
            for key, field in fields.items()
            if getattr(candidate, field) != getattr(before, field)
        }
        for table, fields in KEYS.items()
    }
    sizes = warm_sizes(network, candidate)
    if network.warmup and sizes != network.warmup.batch_sizes:
        values["warmup"] = {"batch_sizes": list(sizes)}
    return edits.with_values(text, "networks", name, values)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
