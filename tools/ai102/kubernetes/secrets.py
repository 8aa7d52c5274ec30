"""The Secrets that the manifests name, made once in a folder and printed for `kubectl apply -f -`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ai102.gateway import certs
from ai102.gateway.secret import secret_of
from ai102.jobs.callbacks import master_key
from ai102.jobs.queue.passwords import files_of_broker
from ai102.seal import key_files

FOLDER = Path("build/kubernetes/secrets")
NAMESPACE = "ai102"
KEY_ID = "cluster"
CALLBACK_KEY = "callback.key"
# Flagger would give the replicas in service a copy that is renewed with the next release: keys are rotated without one.
SECRET = """\
---
apiVersion: v1
kind: Secret
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app.kubernetes.io/part-of: ai102}}
  annotations: {{flagger.app/config-tracking: disabled}}
type: Opaque
data:
"""


def make(folder: Path, names: Sequence[str]) -> None:
    """Make what is missing: the replicas' secret, a certificate of a test CA for `names`, a key of sealed payloads, and
    passwords and the callbacks' key of jobs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    secret_of(folder / "secret")
    certs.make(folder / "certs", names)
    if not (folder / "keys" / "active").exists():
        key_files.new(folder / "keys", KEY_ID, datetime.now(UTC))
    secret_of(folder / "ledger")
    secret_of(folder / "broker")
    master_key(folder / CALLBACK_KEY)


def manifests(folder: Path, namespace: str = NAMESPACE) -> str:
    """The Secrets that the base and the component jobs name; they hold what `folder` holds now."""
    keys = [file for file in sorted((folder / "keys").iterdir()) if not file.name.startswith(".")]
    contents = {
        "gateway-secret": {"secret": (folder / "secret").read_bytes()},
        "gateway-certificate": {"tls-combined.pem": (folder / "certs" / "server.pem").read_bytes()},
        "seal-keys": {file.name: file.read_bytes() for file in keys},
        "jobs-ledger": {"password": (folder / "ledger").read_bytes()},
        "jobs-broker": files_of_broker(secret_of(folder / "broker")),
        "jobs-callbacks": {CALLBACK_KEY: master_key(folder / CALLBACK_KEY)},
    }
    return "".join(
        SECRET.format(name=name, namespace=namespace)
        + "".join(f"  {key}: {base64.b64encode(content).decode()}\n" for key, content in of_keys.items())
        for name, of_keys in contents.items()
    )
