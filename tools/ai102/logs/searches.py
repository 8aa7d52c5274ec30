"""Saved searches: files of OpenSearch's query language in opensearch/searches, with one value to put in."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from ai102.logs.ship.index import Index, packaged

MOST_HITS = 10_000  # as many as OpenSearch gives at once
VALUE, SINCE = "$value", "$since"
SEARCHES = {
    "request": "all-of-one-request.json",
    "refused-of": "refusals-of-one-user.json",
    "failures-of": "failures-of-one-model.json",
}


def search(index: Index, name: str, value: str, since: datetime, most: int = MOST_HITS) -> list[dict[str, Any]]:
    """The documents of a saved search for `value`, oldest first. Raises RefusedError."""
    saved = packaged(f"searches/{SEARCHES[name]}")
    values = {VALUE: value, SINCE: since.isoformat()}
    return index.search(_filled(saved["body"], values) | {"size": min(most, MOST_HITS)})


def _filled(body: Any, values: dict[str, str]) -> Any:
    """Whole strings are replaced, never parts of one: a value cannot change the query."""
    if isinstance(body, dict):
        return {key: _filled(one, values) for key, one in body.items()}
    if isinstance(body, list):
        return [_filled(one, values) for one in body]
    return values.get(body, body) if isinstance(body, str) else body


def line_from(document: dict[str, Any]) -> str:
    """A document for people: when, which service, how bad, and what."""
    labels, event, http = (document.get(key) or {} for key in ("labels", "event", "http"))
    what = [
        labels.get("pipeline") or labels.get("model"),
        event.get("action"),
        labels.get("outcome"),
        _status(labels, http),
        (document.get("user") or {}).get("name"),
        f"{event['duration'] / 1e6:g} ms" if "duration" in event else None,
        event.get("reason") or document.get("message"),
    ]
    shown = "  ".join(json.dumps(part, ensure_ascii=False)[1:-1] for part in what if part)
    level = (document.get("log") or {}).get("level", "")
    return f"{document['@timestamp']}  {(document.get('service') or {}).get('name', '')}  {level}  {shown}"


def _status(labels: dict[str, Any], http: dict[str, Any]) -> str | None:
    if "grpc_status" in labels:
        return f"gRPC {labels['grpc_status']}"
    status = (http.get("response") or {}).get("status_code")
    return None if status is None else f"HTTP {status}"
