"""Hand files in and collect their results, at the same time and until both are done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ai102.client import AsyncJobClient, DeadlineError, JobClient, JobRefusedError, JobResult, Retry, Tls
from ai102.errors import UserError
from ai102.jobs.submit import table
from ai102.jobs.submit.files import Entry, Refused, check_names, entries_from, read_part
from ai102.jobs.submit.journal import Counts, Journal, Row, file_beside, names_of

# A server whose queue is full, or that is started again, is waited for so long.
HAND_IN_S = 3600.0
# Jobs that are waited for together, and how long before others have their turn; a server may be away for so long.
TOGETHER, TURN_S = 10_000, 60.0
# Results are written down together.
WRITE_RESULTS, WRITE_EVERY_S = 500, 0.5
FILES_AT_ONCE = 1000


@dataclass(frozen=True)
class Wanted:
    """Which files are handed in, where, and where their results go."""

    names: tuple[str, ...]
    model: str
    out: Path
    url: str
    priority: str = "normal"
    token: str = field(default="", repr=False)
    tls: Tls | None = None


@dataclass(frozen=True)
class Outcome:
    """How many files are in each state, and the first without outputs."""

    counts: dict[str, int]
    first_failure: Row | None


class StoppedError(UserError):
    """Ctrl-C ended a run that can go on."""

    exit_status = 130


def submit(wanted: Wanted, report: Callable[[Counts], None]) -> Outcome:
    """Write the results of all files to `wanted.out`, or go on where an earlier run stopped.

    `report` is called now and then with how far it is. Raises UserError, and StoppedError for Ctrl-C.
    """
    table.check(wanted.out)
    check_names(wanted.names)
    with JobClient(wanted.url, token=wanted.token, tls=wanted.tls) as client:
        client.list(limit=1)  # a wrong address or token is known before anything is written
    with Journal(file_beside(wanted.out), wanted.model, wanted.names) as journal:
        try:
            besides = {path.resolve() for path in (wanted.out, *names_of(journal.file))}
            journal.begin(entries_from(wanted.names, besides))
            if not journal.counts.total:
                journal.remove()
                raise UserError(f"{', '.join(wanted.names)}: there is no file to hand in")
            report(journal.counts)
            asyncio.run(_all(wanted, journal, report))
            table.write(wanted.out, journal.columns(), journal.rows())
            outcome = Outcome(journal.count_by_state(), journal.first_failure())
        except KeyboardInterrupt as err:
            counts = journal.counts
            raise StoppedError(
                f"stopped: {counts.handed_in} of {counts.total} files are handed in, {counts.done} are done; "
                "the same command again goes on from here"
            ) from err
        journal.remove()
    return outcome


def token_from_file(file: Path) -> str:
    """Raises UserError for a file that cannot be read or holds no token."""
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as err:
        why = err.strerror if isinstance(err, OSError) else "it is no text in ASCII"
        raise UserError(f"--token-file {file}: it cannot be read ({why})") from err
    if not token:
        raise UserError(f"--token-file {file}: it is empty: write the token into it")
    return token


async def _all(wanted: Wanted, journal: Journal, report: Callable[[Counts], None]) -> None:
    async with AsyncJobClient(wanted.url, token=wanted.token, tls=wanted.tls, retry=Retry(tries=5)) as client:
        run = _Run(wanted, journal, report, client)
        while not journal.is_complete:
            await run.once()


class _Run:
    def __init__(
        self, wanted: Wanted, journal: Journal, report: Callable[[Counts], None], client: AsyncJobClient
    ) -> None:
        self._wanted = wanted
        self._journal = journal
        self._report = report
        self._client = client

    async def once(self) -> None:
        """Hand in what is not, and collect what was; what the server lost meanwhile is left for the next time."""
        more = asyncio.Event()
        handing_in = asyncio.create_task(self._hand_in(more))
        collecting = asyncio.create_task(self._collect(handing_in, more))
        try:
            await asyncio.wait({handing_in, collecting}, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            handing_in.cancel()
            collecting.cancel()
            ends = await asyncio.gather(handing_in, collecting, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                raise end

    async def _hand_in(self, more: asyncio.Event) -> None:
        while paths := self._journal.unsent(FILES_AT_ONCE):
            part = await asyncio.to_thread(read_part, paths)
            refused, entries = part.refused, [read.entry for read in part.files]
            jobs: list[str] = []
            if entries:
                try:
                    jobs = await self._client.submit_many(
                        self._wanted.model,
                        [read.content for read in part.files],
                        keys=map(self._journal.key_of, entries),
                        priority=self._wanted.priority,
                        timeout_s=HAND_IN_S,
                    )
                except JobRefusedError as err:
                    jobs = err.ids
                    refused = [*refused, *(Refused(entries[at].path, why) for at, why in err.refusals.items())]
            self._write_handed_in(entries, jobs, refused)
            more.set()

    def _write_handed_in(self, entries: list[Entry], jobs: list[str], refused: list[Refused]) -> None:
        accepted = [(entry, job) for entry, job in zip(entries, jobs, strict=True) if job]
        self._journal.handed_in([entry for entry, _ in accepted], [job for _, job in accepted])
        self._journal.refused(refused)
        self._report(self._journal.counts)

    async def _collect(self, handing_in: asyncio.Task[None], more: asyncio.Event) -> None:
        while True:
            is_all_in = handing_in.done()
            more.clear()
            if jobs := self._journal.waiting(TOGETHER):
                await self._collect_of(jobs)
            elif is_all_in:
                return
            else:
                waiting = asyncio.create_task(more.wait())
                await asyncio.wait({waiting, handing_in}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()

    async def _collect_of(self, jobs: list[str]) -> None:
        results: list[JobResult] = []
        written_at = time.monotonic()
        try:
            async for result in self._client.as_completed(jobs, TURN_S):
                results.append(result)
                if len(results) >= WRITE_RESULTS or time.monotonic() - written_at > WRITE_EVERY_S:
                    self._write_results(results)
                    written_at = time.monotonic()
        except DeadlineError:
            return  # some take longer: others have their turn
        finally:
            self._write_results(results)

    def _write_results(self, results: list[JobResult]) -> None:
        self._journal.ended(results)
        results.clear()
        self._report(self._journal.counts)
