"""OpenSearch, or Elasticsearch, over HTTP: what the shipper and the searches ask of it."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

from ai102.errors import UserError
from ai102_runtime.seal.private import NotPrivateError, read_private

PREFIX = "ai102-logs"
TEMPLATE = "index-template.json"
ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S = 60.0, 5.0
LONGEST_REASON = 300


class RefusedError(Exception):
    """The index did not do what it was asked; one line. `is_passing`: the same again may succeed."""

    def __init__(self, text: str, *, is_passing: bool) -> None:
        super().__init__(text)
        self.is_passing = is_passing


@dataclass(frozen=True)
class Action:
    """One document: where it goes, and itself as JSON."""

    index: str
    id: str
    document: bytes


class Result(NamedTuple):
    """What became of a document: HTTP's status, and why it was refused."""

    status: int
    reason: str


def packaged(name: str) -> dict[str, Any]:
    """A JSON file of ai102/logs/opensearch."""
    content: dict[str, Any] = json.loads(files("ai102.logs").joinpath("opensearch", name).read_text(encoding="utf-8"))
    return content


class Index:
    """`credentials`: a private file with `user:password`. `ca`: a CA file for https. Use it as a context manager."""

    def __init__(self, url: str, credentials: Path | None = None, ca: Path | None = None) -> None:
        """UserError for an address, or files, that cannot be used."""
        if not url.startswith(("http://", "https://")):
            raise UserError(f'--to: "{url}" is no address: write http://HOST:PORT or https://HOST:PORT')
        self.url = url.rstrip("/")
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        verify = _trusting(ca) if ca else True
        self._client = httpx.Client(base_url=self.url, timeout=timeout, auth=_login(credentials), verify=verify)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def put_template(self) -> None:
        """Types of all fields, for indices made from now on. Raises RefusedError."""
        self._ask("PUT", f"/_index_template/{PREFIX}", packaged(TEMPLATE))

    def bulk(self, actions: Sequence[Action]) -> list[Result]:
        """Write documents; one of the same id is overwritten. In the order of `actions`. Raises RefusedError."""
        body = bytearray()
        for action in actions:
            body += json.dumps({"index": {"_index": action.index, "_id": action.id}}).encode() + b"\n"
            body += action.document + b"\n"
        answer = self._ask("POST", "/_bulk", bytes(body))
        results = [_result(item) for item in answer.get("items", [])]
        if len(results) != len(actions):
            raise RefusedError(f"{self.url} answered for {len(results)} of {len(actions)} documents", is_passing=True)
        return results

    def search(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The documents found, in the order asked for. Raises RefusedError."""
        answer = self._ask("POST", f"/{PREFIX}-*/_search?ignore_unavailable=true", body)
        return [hit["_source"] for hit in answer["hits"]["hits"]]

    def indices(self) -> list[str]:
        """The names of all our indices. Raises RefusedError."""
        return sorted(self._ask("GET", f"/{PREFIX}-*/_settings?flat_settings=true", None))

    def delete(self, name: str) -> None:
        """Raises RefusedError."""
        self._ask("DELETE", f"/{name}", None)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | bytes | None) -> dict[str, Any]:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = "application/x-ndjson" if isinstance(body, bytes) else "application/json"
        try:
            response = self._client.request(method, path, content=content, headers={"content-type": kind})
            answer = response.json() if response.content else {}
        except httpx.TransportError as err:
            raise RefusedError(f"{self.url} cannot be reached: {err or type(err).__name__}", is_passing=True) from err
        except ValueError as err:
            raise RefusedError(f"{self.url} answered {response.status_code} without JSON", is_passing=True) from err
        if response.is_success and isinstance(answer, dict):
            return answer
        reason = _reason(answer.get("error") if isinstance(answer, dict) else answer)
        is_passing = response.status_code in (403, 408, 429) or response.status_code >= 500
        raise RefusedError(
            f"{self.url} answered {response.status_code} to {method} {path}: {reason}", is_passing=is_passing
        )


def _result(item: Mapping[str, Any]) -> Result:
    [outcome] = item.values()
    return Result(int(outcome["status"]), _reason(outcome.get("error")))


def _reason(error: Any) -> str:
    """The innermost cause, in which the field and what was wrong with it stand."""
    if not isinstance(error, Mapping):
        return str(error or "")[:LONGEST_REASON]
    cause = error.get("caused_by")
    own = f"{error.get('type', '')}: {error.get('reason', '')}"
    return f"{own}; {_reason(cause)}"[:LONGEST_REASON] if cause else own[:LONGEST_REASON]


def _login(file: Path | None) -> tuple[str, str] | None:
    if file is None:
        return None
    try:
        user, colon, password = read_private(file, 4096).decode("utf-8").strip().partition(":")
    except FileNotFoundError as err:
        raise UserError(f"--credentials: {file}: no such file; write user:password into it, mode 0600") from err
    except (NotPrivateError, UnicodeDecodeError) as err:
        raise UserError(f"--credentials: {err}") from err
    if not colon:
        raise UserError(f"--credentials: {file} has no colon: write user:password")
    return user, password


def _trusting(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as err:
        raise UserError(f"--ca: {ca}: {err}: give a file of certificates in PEM") from err
