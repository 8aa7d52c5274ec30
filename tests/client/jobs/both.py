"""The two clients of jobs behind one interface, so that one test holds for both."""

from collections.abc import Iterator
from typing import Any

from ai102.client import AsyncJobClient, JobClient
from tests.client.ways import Awaited


class AwaitedJobs(Awaited):
    """The same of an AsyncJobClient."""

    KIND = AsyncJobClient

    def as_completed(self, *args: Any, **options: Any) -> Iterator[Any]:
        results = self.client.as_completed(*args, **options)

        async def following() -> Any:
            return await anext(results, None)

        while (result := self._runner.run(following())) is not None:
            yield result


BOTH = {"threads": JobClient, "asyncio": AwaitedJobs}
