"""The two clients of jobs behind one interface, so that one test holds for both."""

import asyncio
from collections.abc import Iterator
from typing import Any, Self

from ai102.client import AsyncJobClient, JobClient


class AwaitedJobs:
    """An AsyncJobClient in a loop of its own, each call awaited at once."""

    def __init__(self, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = AsyncJobClient(url, **options)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)

        async def ask(*args: Any, **options: Any) -> Any:
            return await call(*args, **options)

        return lambda *args, **options: self._runner.run(ask(*args, **options))

    def as_completed(self, *args: Any, **options: Any) -> Iterator[Any]:
        results = self.client.as_completed(*args, **options)

        async def following() -> Any:
            return await anext(results, None)

        while (result := self._runner.run(following())) is not None:
            yield result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *why: object) -> None:
        try:
            self._runner.run(self.client.close())
        finally:
            self._runner.close()


BOTH = {"threads": JobClient, "asyncio": AwaitedJobs}
