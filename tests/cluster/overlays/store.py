"""An S3 store outside of the nodes: versitygw over a folder. One login may read one bucket, another one may not."""

from __future__ import annotations

import json
import secrets
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ai102_runtime.storage.signature import Credentials, headers_of, path_of
from k8s.local import components, namespaces
from k8s.local.components import Component
from k8s.local.plan import CLIENT, REGISTRY, Plan
from k8s.local.waiting import until

NAME, BUCKET, RELEASE = "store", "models", "0.2.0"
ADDRESS = f"{REGISTRY.address}:9000"
ENDPOINT = f"http://{ADDRESS}"
REGION = "us-east-1"
READER, STRANGER = "reader", "stranger"
READS = ["s3:GetObject", "s3:ListBucket"]
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Store:
    """A store that runs; `secrets` has the word of each login."""

    plan: Plan
    secrets: dict[str, str]

    def credentials(self, login: str) -> Credentials:
        return Credentials(login, self.secrets[login], REGION)

    def status_of(self, method: str, login: str, key: str) -> int:
        """What a request without a body for an object is answered, from outside of the nodes."""
        path = path_of(BUCKET, key)
        headers = headers_of(method, ADDRESS, path, "", self.credentials(login), datetime.now(UTC))
        request = urllib.request.Request(f"{ENDPOINT}{path}", headers=headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def ask() -> int:
            try:
                with opener.open(request, timeout=TIMEOUT_S) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as err:
                with err:
                    return err.code
            except OSError:
                return 0

        return namespaces.inside(namespaces.path_of(self.plan.namespace(CLIENT)), ask)


def start(plan: Plan, versitygw: Path, models: Path) -> Store:
    """With the repository below the prefix of a release."""
    folder = plan.folder_of(REGISTRY) / NAME
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(models, folder / "data" / BUCKET / RELEASE)
    words = {login: secrets.token_urlsafe(24) for login in ("root", READER, STRANGER)}
    accounts = {
        login: {"access": login, "secret": words[login], "role": "user", "userID": 0, "groupID": 0, "projectID": 0}
        for login in (READER, STRANGER)
    }
    resources = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
    statements = [
        {"Effect": "Allow", "Principal": [READER], "Action": [action], "Resource": [resource]}
        for action, resource in zip(READS, reversed(resources), strict=True)
    ]
    files = {
        folder / "logins" / "users.json": json.dumps({"accessAccounts": accounts}),
        # Where the store keeps what is said of a bucket.
        folder / "facts" / BUCKET / "meta" / "policy": json.dumps({"Version": "2012-10-17", "Statement": statements}),
    }
    logins = ("--access=root", f"--secret={words['root']}", f"--region={REGION}", f"--iam-dir={folder / 'logins'}")
    command = (
        str(versitygw),
        *logins,
        f"--port={ADDRESS}",
        "posix",
        f"--sidecar={folder / 'facts'}",
        str(folder / "data"),
    )
    components.start(plan, Component(NAME, REGISTRY, command, files))
    store = Store(plan, words)
    until(lambda: store.status_of("GET", "root", f"{RELEASE}/digits_int8/config.pbtxt") == 200, "the store answers", 30)
    return store
