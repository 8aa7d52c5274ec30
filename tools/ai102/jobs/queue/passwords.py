"""The broker's password in the forms that Redis, its clients and the sidecars read from files."""

from __future__ import annotations

import json
from collections.abc import Mapping


def files_of_broker(password: str) -> Mapping[str, bytes]:
    """By file name: the password alone, Redis's configuration, and what Dapr's secret store reads (docker/dapr)."""
    texts = {
        "password": password,
        "redis.conf": f"requirepass {password}\n",
        "dapr.json": json.dumps({"redis-password": password}),
    }
    return {name: text.encode() for name, text in texts.items()}
