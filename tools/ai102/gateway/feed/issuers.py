"""An issuer's keys and revocations, fetched again and again; the last good answer holds while it does not answer."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from ai102.gateway.feed.jwks import Keys, keys_from_jwks, revoked_page_from
from ai102.gateway.policy import Issuer
from ai102.gateway.revocations import Journal

OURS_EVERY_S = 1.0
FOREIGN_EVERY_S = 60.0
# A foreign issuer that did not answer is asked again sooner.
RETRY_EVERY_S = 5.0
CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 3.0
MAX_JWKS_BYTES = 256 << 10
MAX_PAGE_BYTES = 8 << 20

T = TypeVar("T")


@dataclass(frozen=True)
class Known:
    """What an issuer said last; None: it never did. `fetched_s`: when it last said all of it.

    `revoked` names the journal that holds all it has revoked.
    """

    keys: Keys | None = None
    revoked: str | None = None
    fetched_s: float = 0


def known_from_state(state: Mapping[str, Any], issuer: Issuer, journal: Journal | None) -> Known:
    """What an earlier state.json holds of `issuer`; nothing if its keys are from another address."""
    try:
        row = state["issuers"][issuer.issuer]
        if row["jwks"] != issuer.jwks or not row["fetched"]:
            return Known()
        keys = {kid: {"alg": key["alg"], "pem": key["pem"]} for kid, key in row["keys"].items()}
        revoked = journal.name if journal is not None and row["revoked"] else ""
        return Known(keys, revoked or None, row["fetched"])
    except (KeyError, TypeError, AttributeError):
        return Known()


class Fetcher:
    """GETs one address: with limits, and without a body where the answer is that of before."""

    def __init__(self, client: httpx.Client, url: str, max_bytes: int) -> None:
        self._client = client
        self._url = url
        self._max_bytes = max_bytes
        self._etag = ""

    def fetch(self, read: Callable[[bytes], T], **query: str) -> T | None:
        """What `read` makes of the answer; None: the same as before. Raises ValueError, httpx.HTTPError."""
        url = httpx.URL(self._url).copy_merge_params(query) if query else self._url
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        headers = {"Accept": "application/json"} | ({"If-None-Match": self._etag} if self._etag else {})
        body = b""
        with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code == httpx.codes.NOT_MODIFIED and self._etag:
                return None
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"status {response.status_code} instead of 200")
            for part in response.iter_bytes():
                body += part
                if len(body) > self._max_bytes:
                    raise ValueError(f"more than {self._max_bytes} bytes")
                if time.monotonic() > deadline:
                    raise ValueError(f"no whole answer within {ANSWER_TIMEOUT_S:g} s")
            etag = response.headers.get("ETag", "")
        result = read(body)
        self._etag = etag  # only now: an answer that could not be read must be sent again
        return result


class Feed:
    """Follows what an issuer revokes: each time what is new, page by page, into the journal."""

    def __init__(self, fetcher: Fetcher, journal: Journal) -> None:
        self._fetcher = fetcher
        self._journal = journal
        self._feed = ""
        self._after = 0

    def follow(self, stop: threading.Event) -> str:
        """The journal's name, once it has all; "" when it was stopped. Raises ValueError, httpx.HTTPError and OSError,
        and goes on from there the next time.
        """
        while True:
            page = self._fetcher.fetch(revoked_page_from, after=str(self._after))
            if page is None or stop.is_set():
                return ""
            if self._after and (page.feed != self._feed or page.next < self._after):
                self._after = 0  # another database, or a former copy of it: its numbers mean other things
                continue
            if page.more and page.next <= self._after:
                raise ValueError("a page of revocations that leads nowhere")
            self._journal.add(page.revocations)
            self._feed, self._after = page.feed, page.next
            if not page.more:
                return self._journal.name


class Watch:
    """Keeps `known` up to date in a thread of its own: an issuer that hangs holds up no other."""

    def __init__(self, issuer: Issuer, known: Known, log: Callable[[str], None], journal: Journal | None) -> None:
        self.issuer = issuer
        self.known = known
        self._journal = journal
        self._log = log
        self._wake = threading.Event()
        self._told: dict[str, str] = {}
        self.defect: BaseException | None = None

    def fetch_soon(self) -> None:
        """Do not wait for the next turn."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Fetch until `stop` is set; what must not happen is kept in `defect`."""
        try:
            self._run(stop)
        except BaseException as err:
            self.defect = err
            raise

    def _run(self, stop: threading.Event) -> None:
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with httpx.Client(timeout=timeout, trust_env=not _is_local(self.issuer.jwks)) as client:
            jwks = Fetcher(client, self.issuer.jwks, MAX_JWKS_BYTES)
            feed = None
            if self._journal is not None:
                feed = Feed(Fetcher(client, self.issuer.revoked, MAX_PAGE_BYTES), self._journal)
            while not stop.is_set():
                whole = self.once(jwks, feed, stop)
                every_s = FOREIGN_EVERY_S if whole else RETRY_EVERY_S
                self._wait(OURS_EVERY_S if feed else every_s, stop)

    def once(self, jwks: Fetcher, feed: Feed | None, stop: threading.Event) -> bool:
        """One turn; whether everything could be fetched."""
        has_keys, keys = self._ask(lambda: jwks.fetch(keys_from_jwks), self.issuer.jwks)
        if keys is not None:
            self.known = replace(self.known, keys=keys.keys)
            self._tell("keys", "; ".join(keys.left_out), "left out: ")
        has_revocations = True
        if feed is not None:
            has_revocations, journal = self._ask(lambda: feed.follow(stop), self.issuer.revoked)
            if journal:
                self.known = replace(self.known, revoked=journal)
        if has_keys and has_revocations:
            self.known = replace(self.known, fetched_s=time.time())
        return has_keys and has_revocations

    def _ask(self, fetch: Callable[[], T], url: str) -> tuple[bool, T | None]:
        """Whether it answered, and the answer, None when it did not change; a failure is reported once."""
        try:
            answer = fetch()
        except (ValueError, OSError, httpx.HTTPError, httpx.InvalidURL) as err:
            self._tell(url, f"{type(err).__name__}: {err}", "what was known stays in force: ")
            return False, None
        self._tell(url, "", "")
        return True, answer

    def _tell(self, about: str, problem: str, words: str) -> None:
        """Say a problem when it comes, and that it went; not again and again while it lasts."""
        if problem != self._told.get(about, ""):
            self._log(f"{self.issuer.issuer}: {about}: {words + problem if problem else 'well again'}")
        self._told[about] = problem

    def _wait(self, seconds: float, stop: threading.Event) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not stop.is_set():
            if self._wake.wait(min(left, 0.5)):
                self._wake.clear()
                return


def _is_local(url: str) -> bool:
    """Whether a proxy named in the environment must not be used."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
