"""The Secrets that the manifests name, made once in a folder and printed for `kubectl apply -f -`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ai102.gateway import certs
from ai102.gateway.secret import secret_of
from ai102.seal import key_files

FOLDER = Path("build/kubernetes/secrets")
NAMESPACE = "ai102"
KEY_ID = "cluster"
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
    """Make what is missing: the replicas' secret, a certificate of a test CA for `names`, a key of sealed payloads."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    secret_of(folder / "secret")
    certs.make(folder / "certs", names)
    if not (folder / "keys" / "active").exists():
        key_files.new(folder / "keys", KEY_ID, datetime.now(UTC))


def manifests(folder: Path, namespace: str = NAMESPACE) -> str:
    """The Secrets gateway-secret, gateway-certificate and seal-keys; they hold what `folder` holds now."""
    contents = {
        "gateway-secret": {"secret": folder / "secret"},
        "gateway-certificate": {"tls-combined.pem": folder / "certs" / "server.pem"},
        "seal-keys": {file.name: file for file in sorted((folder / "keys").iterdir()) if not file.name.startswith(".")},
    }
    return "".join(
        SECRET.format(name=name, namespace=namespace)
        + "".join(f"  {key}: {base64.b64encode(file.read_bytes()).decode()}\n" for key, file in files.items())
        for name, files in contents.items()
    )
