"""Whether others ask Triton directly: by Triton's own counts, or by those of a gateway in front of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from socket import SOCK_STREAM, getaddrinfo
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from ai102.client import AsyncClient, InferenceError
from ai102.prometheus.exposition import scraped
from ai102.prometheus.fetching import NoAnswerError

TIMEOUT_S = 2.0
# How long the addresses of gateways are taken to be the same, unless one of them does not answer.
RESOLVED_FOR_S = 5.0


class DirectCalls(Protocol):
    """Belongs to one event loop."""

    def begins(self, model: str) -> None:
        """A call of ours to the model begins."""

    def ended(self, model: str) -> None:
        """It has ended."""

    async def seen(self) -> bool:
        """Whether there were direct calls since this was asked last."""

    async def close(self) -> None: ...


class OfTriton:
    """The requests that each of the servers counts, less our own. Every server must be asked at its own address.

    A look bounds how many direct requests there were: the counts less our calls that had begun when the answer came, at
    least; the counts less those that had ended before the question, at most. Direct calls are seen when there must be
    more of them than there can have been before.
    """

    def __init__(
        self, urls: Sequence[str], steps_of: Mapping[str, Set[str]], clock: Callable[[], float], recent_s: float
    ) -> None:
        """`steps_of`: the models that Triton asks itself when it is asked for a model, by that model. `recent_s`: how
        long a step of ours may be counted after our call has ended.
        """
        self._clients = [AsyncClient(url, shared_memory=False, timeout_s=TIMEOUT_S) for url in urls]
        self._steps_of = steps_of
        self._clock = clock
        self._recent_s = recent_s
        self._begun: Counter[str] = Counter()  # our calls, by model
        self._ended: Counter[str] = Counter()
        self._at_most: dict[str, int] = {}  # direct requests at some look before, by model
        self._used_at: dict[str, float] = {}

    def begins(self, model: str) -> None:
        self._begun[model] += 1
        self._used_at[model] = self._clock()

    def ended(self, model: str) -> None:
        self._ended[model] += 1
        self._used_at[model] = self._clock()

    async def seen(self) -> bool:
        ended = self._ended.copy()
        try:
            of_servers = await asyncio.gather(*(client.statistics() for client in self._clients))
        except InferenceError:
            self._at_most.clear()  # a server that is started again counts from 0
            return False
        counts: Counter[str] = Counter()
        for rows in of_servers:
            for row in rows:
                counts[row["name"]] += _requests(row)
        return self.more(counts, ended)

    def more(self, counts: Mapping[str, int], ended: Mapping[str, int]) -> bool:
        """Whether a model must have more direct requests than before. `ended`: our calls before the question."""
        now = self._clock()
        used = {model for model, at in self._used_at.items() if now - at < self._recent_s}
        inner = {step for model in used for step in self._steps_of.get(model, ())}
        is_seen = False
        for model, count in counts.items():
            at_least, at_most = count - self._begun[model], count - ended.get(model, 0)
            before = self._at_most.get(model, at_most)
            if model in inner or at_least > before:
                is_seen = is_seen or model not in inner
                self._at_most[model] = at_most
            else:
                self._at_most[model] = min(before, at_most)
        return is_seen

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


class OfGateway:
    """The inferences that gateways count: jobs do not pass where they count."""

    METRIC = "ai102_gateway_requests_total"
    OTHER = "other"  # no inference

    def __init__(self, url: str, say: Callable[[str], None]) -> None:
        """`url`: of the gateway's metrics, http://HOST:8405/metrics. A name may stand for several gateways."""
        self._url = url
        self._say = say
        self._addresses: list[str] = []
        self._resolve_at = float("-inf")
        self._counts: dict[str, float] = {}  # by address
        self._is_silent = False

    def begins(self, model: str) -> None: ...

    def ended(self, model: str) -> None: ...

    async def seen(self) -> bool:
        try:
            await self._resolve()
            counts = dict(await asyncio.gather(*(asyncio.to_thread(self._counted, one) for one in self._addresses)))
        except NoAnswerError as err:
            self._resolve_at = float("-inf")
            if not self._is_silent:
                self._say(f"{err}: until it does, direct calls are taken to be there")
            self._is_silent = True
            return True
        self._is_silent = False
        before, self._counts = self._counts, counts
        return any(count > before.get(address, count) for address, count in counts.items())

    async def _resolve(self) -> None:
        """It is looked ten times a second, and every look-up of a name may be ten questions."""
        now = asyncio.get_running_loop().time()
        if now >= self._resolve_at:
            self._addresses = await asyncio.to_thread(addresses_of, self._url)
            self._resolve_at = now + RESOLVED_FOR_S

    def _counted(self, address: str) -> tuple[str, float]:
        rows = scraped(address, TIMEOUT_S).of(self.METRIC)
        return address, sum(row.value for row in rows if row.labels.get("pipeline") != self.OTHER)

    async def close(self) -> None: ...


class Unseen:
    """Nobody looks: jobs take all that they can get."""

    def begins(self, model: str) -> None: ...

    def ended(self, model: str) -> None: ...

    async def seen(self) -> bool:
        return False

    async def close(self) -> None: ...


def addresses_of(url: str) -> list[str]:
    """The URL with each address that its host stands for. Raises NoAnswerError for a host that stands for none."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    try:
        found = {str(row[4][0]) for row in getaddrinfo(host, port, type=SOCK_STREAM)}
    except OSError as err:
        raise NoAnswerError(f"{url}: {host}: {err.strerror}") from err
    places = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address in sorted(found)]
    return [urlunsplit(parts._replace(netloc=place)) for place in places]


def _requests(row: Mapping[str, Any]) -> int:
    stats = row.get("inference_stats", {})
    return sum(int(stats.get(kind, {}).get("count", 0)) for kind in ("success", "fail"))
