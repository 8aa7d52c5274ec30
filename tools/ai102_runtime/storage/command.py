"""`copy s3://BUCKET/PREFIX FOLDER`: every object below the prefix as a file of the folder."""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from ai102_runtime.storage.bucket import Bucket, StorageError
from ai102_runtime.storage.signature import Credentials

USAGE = "usage: python3 -m ai102_runtime.storage copy s3://BUCKET/PREFIX FOLDER"
# The folder with the files access-key-id and secret-access-key, the store's URL, and its region.
KEYS, ENDPOINT, REGION = "AI102_STORAGE_KEYS", "AWS_ENDPOINT_URL", "AWS_REGION"
AT_ONCE = 4


def main(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """0 when all of it is there, 2 with one line when it is not."""
    try:
        if len(words) != 3 or words[0] != "copy":
            raise StorageError(USAGE)
        count, size = copy(words[1], Path(words[2]), environment)
    except StorageError as err:
        sys.stderr.write(f"{err}\n")
        return 2
    sys.stdout.write(f"{words[1]}: {count} objects, {size >> 20} MiB\n")
    return 0


def copy(source: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, int]:
    """How many objects, and how many bytes. Raises StorageError."""
    url = urlsplit(source)
    if url.scheme != "s3" or not url.netloc:
        raise StorageError(f"{source}: is no place in a store; write s3://BUCKET/PREFIX")
    bucket, prefix = (
        Bucket(_variable(environment, ENDPOINT).rstrip("/"), url.netloc, _credentials(environment)),
        url.path,
    )
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    items = {item: folder / _inside(item.key.removeprefix(prefix)) for item in bucket.objects(prefix)
             if not item.key.endswith("/")}  # fmt: skip
    if not items:
        raise StorageError(f"{source}: there is no object below it")
    for parent in {target.parent for target in items.values()}:
        parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(bucket.fetch, item, target) for item, target in items.items()]:
            done.result()
    return len(items), sum(item.size for item in items)


def _credentials(environment: Mapping[str, str]) -> Credentials:
    folder = Path(_variable(environment, KEYS))
    try:
        words = [(folder / name).read_text("utf-8").strip() for name in ("access-key-id", "secret-access-key")]
    except OSError as err:
        raise StorageError(f"{KEYS}: {err}") from err
    return Credentials(words[0], words[1], environment.get(REGION) or "us-east-1")


def _inside(name: str) -> PurePosixPath:
    """Raises StorageError for a key that would lead out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise StorageError(f"{name}: an object of that name would be written elsewhere; remove it from the store")
    return path


def _variable(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise StorageError(f"{name} is not set: see k8s/components/model-s3")
    return environment[name]
