"""Writes a candidate's changed values into models.toml; comments and everything else stay the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from ai102.contract import Network
from ai102.errors import UserError
from ai102.tune.candidate import Candidate, candidate_of, warm_sizes


def with_candidate(text: str, name: str, network: Network, candidate: Candidate) -> str:
    """`text` of models.toml with the candidate in [networks.NAME]. Raises UserError when that is not a table."""
    document = tomlkit.parse(text)
    before = candidate_of(network)
    try:
        table: Any = document["networks"][name]
        _set(
            table,
            "batching",
            {
                key: _plain(getattr(candidate, key))
                for key in ("max_batch_size", "max_queue_delay_us", "preferred_batch_sizes")
                if getattr(candidate, key) != getattr(before, key)
            },
        )
        _set(
            table,
            "instances",
            {
                key: value
                for key, value, old in (
                    ("count", candidate.instances, before.instances),
                    ("threads", candidate.threads, before.threads),
                )
                if value != old
            },
        )
        sizes = warm_sizes(network, candidate)
        if network.warmup and sizes != network.warmup.batch_sizes:
            _set(table, "warmup", {"batch_sizes": list(sizes)})
    except (TOMLKitError, KeyError, TypeError) as err:
        raise UserError(f"models.toml: networks.{name} is not written as a table: write {candidate} by hand") from err
    return tomlkit.dumps(document)


def _set(table: Any, key: str, values: Mapping[str, Any]) -> None:
    if not values:
        return
    inner = table.setdefault(key, tomlkit.inline_table())
    for name, value in values.items():
        if value in (0, []):  # the default
            inner.pop(name, None)
        else:
            inner[name] = value
    if isinstance(inner, InlineTable):
        table[key] = _tidied(inner)


def _tidied(table: InlineTable) -> Any:
    """The table with regular spaces: tomlkit leaves a gap for a removed key and none before the last brace."""
    entries = ", ".join(f"{name} = {value.as_string().strip()}" for name, value in table.value.items())
    item = tomlkit.parse(f"it = {{ {entries} }}\n")["it"]
    item.trivia.comment_ws, item.trivia.comment = table.trivia.comment_ws, table.trivia.comment
    return item


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
