"""A bucket of an S3 store: its objects listed and fetched, with requests that fail for a moment asked again."""

import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from xml.etree import ElementTree

from ai102_runtime.storage.signature import Credentials, headers_of, path_of, query_of

TIMEOUT_S = 30.0
TRIES, WAIT_S = 5, 0.5
# A store that is busy or starting; all other refusals are for good.
FOR_A_MOMENT = (429, 500, 502, 503, 504)

Result = TypeVar("Result")


class StorageError(Exception):
    """One line: what was asked, and what the store said."""


@dataclass(frozen=True)
class Object:
    key: str
    size: int


@dataclass(frozen=True)
class Bucket:
    """`endpoint` is the store's URL, as https://s3.eu-central-1.amazonaws.com."""

    endpoint: str
    name: str
    credentials: Credentials

    def objects(self, prefix: str) -> Iterator[Object]:
        """All whose key begins so. Raises StorageError."""
        parameters = {"list-type": "2", "prefix": prefix}
        while True:
            root = _again(lambda: self._page(parameters), f"{self.name}/{prefix}")
            for row in root.iterfind("{*}Contents"):
                yield Object(row.findtext("{*}Key", ""), int(row.findtext("{*}Size", "0")))
            token = root.findtext("{*}NextContinuationToken")
            if not token:
                return
            parameters["continuation-token"] = token

    def fetch(self, item: Object, target: Path) -> None:
        """Write it whole to `target`, whose folder is there. Raises StorageError."""

        def write() -> int:
            with self._opened(path_of(self.name, item.key)) as answer, target.open("wb") as file:
                shutil.copyfileobj(answer, file)
                return file.tell()

        if (size := _again(write, f"{self.name}/{item.key}")) != item.size:
            raise StorageError(
                f"{self.name}/{item.key}: has {size} bytes, but {item.size} in the list: was it replaced?"
            )

    def _page(self, parameters: Mapping[str, str]) -> ElementTree.Element:
        with self._opened(path_of(self.name), query_of(parameters)) as answer:
            return ElementTree.fromstring(answer.read())

    def _opened(self, path: str, query: str = "") -> HTTPResponse:
        host, now = urlsplit(self.endpoint).netloc, datetime.now(timezone.utc)
        headers = headers_of("GET", host, path, query, self.credentials, now)
        request = urllib.request.Request(f"{self.endpoint}{path}{query and '?'}{query}", headers=headers)
        answer: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_S)
        return answer


def _again(work: Callable[[], Result], what: str) -> Result:
    """What `work` gives, tried a few times. Raises StorageError with what the store said last."""
    for number in range(1, TRIES + 1):
        try:
            return work()
        except urllib.error.HTTPError as err:
            with err:
                reason = f"the store refuses it: HTTP {err.code} {_code_of(err.read())}".strip()
            if err.code not in FOR_A_MOMENT:
                raise StorageError(f"{what}: {reason}") from err
        except (OSError, HTTPException) as err:
            reason = f"the store does not answer: {err}"
        if number < TRIES:
            time.sleep(WAIT_S * number)
    raise StorageError(f"{what}: {reason}, {TRIES} times")


def _code_of(content: bytes) -> str:
    """Of the store's explanation the word for programs, such as AccessDenied."""
    try:
        return ElementTree.fromstring(content).findtext("{*}Code", "")
    except ElementTree.ParseError:
        return ""
