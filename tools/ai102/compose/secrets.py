"""The stack's secrets, made once: of replicas and Grafana, the gateway's certificate, the key of sealed payloads."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from ai102.artifact import write_bytes
from ai102.gateway import certs
from ai102.gateway.secret import secret_of
from ai102.seal import key_files

FOLDER = Path("build/compose/secrets")
KEY_ID = "compose"
# compose.yaml's secrets, by the file that each is made as.
SOURCES = {
    "gateway_secret": "secret",
    "gateway_certificate": "certs/server.pem",
    "seal_key": f"keys/{KEY_ID}.key",
    "seal_active": "keys/active",
    "grafana_password": "grafana",
}


def make_secrets(root: Path, uid: int, gid: int, names: tuple[str, ...] = ()) -> list[str]:
    """Make what is missing; the names of the secrets that are new.

    The files can be read by `uid` alone, whom the programs in the containers run as; root's are read by its group.
    A client needs certs/ca.pem, and whoever seals payloads the folder keys.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    secret_of(folder / "secret")
    secret_of(folder / "grafana")
    certs.make(folder / "certs", names)
    if not (folder / "keys" / f"{KEY_ID}.key").exists():
        key_files.new(folder / "keys", KEY_ID, datetime.now(UTC))
    return [name for name, source in SOURCES.items() if _place(folder / name, folder / source, uid, gid)]


def _place(secret: Path, source: Path, uid: int, gid: int) -> bool:
    """Copy a secret to where compose.yaml names it, unless it is the same already; whether it was written."""
    content = source.read_bytes()
    if secret.exists() and secret.read_bytes() == content:
        return False
    write_bytes(secret, content, 0o400)
    if os.geteuid() == 0:
        os.chown(secret, 0, gid)
        secret.chmod(0o440)
    return True
