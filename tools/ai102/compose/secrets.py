"""The stack's secrets, made once: passwords, the gateway's certificate, the key of sealed payloads."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from ai102.artifact import write_bytes
from ai102.gateway import certs
from ai102.gateway.secret import secret_of
from ai102.jobs.queue.passwords import files_of_broker
from ai102.seal import key_files

FOLDER = Path("build/compose/secrets")
KEY_ID = "compose"
# Secrets of compose.yaml, by the file that each is made as.
SOURCES = {
    "gateway_secret": "secret",
    "gateway_certificate": "certs/server.pem",
    "seal_key": f"keys/{KEY_ID}.key",
    "seal_active": "keys/active",
    "grafana_password": "grafana",
    "ledger_password": "ledger",
    "broker_password": "broker/password",
    "broker_redis": "broker/redis.conf",
    "broker_dapr": "broker/dapr.json",
}
# Read by users of third-party images, who are given the group.
OF_GROUP = ("ledger_password", "broker_password", "broker_redis", "broker_dapr")


def make_secrets(root: Path, uid: int, gid: int, names: tuple[str, ...] = ()) -> list[str]:
    """Make what is missing; the names of the secrets that are new.

    The files can be read by `uid` alone, whom the programs in the containers run as. Root's, and those of OF_GROUP, are
    read by the group; nobody else comes into their folder. A client needs certs/ca.pem, and whoever seals payloads the
    folder keys.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    secret_of(folder / "secret")
    secret_of(folder / "grafana")
    secret_of(folder / "ledger")
    certs.make(folder / "certs", names)
    if not (folder / "keys" / f"{KEY_ID}.key").exists():
        key_files.new(folder / "keys", KEY_ID, datetime.now(UTC))
    files = files_of_broker(secret_of(folder / "broker" / "password"))
    for name in ("redis.conf", "dapr.json"):
        write_bytes(folder / "broker" / name, files[name])
    return [name for name, source in SOURCES.items() if _place(folder / name, folder / source, uid, gid)]


def _place(secret: Path, source: Path, uid: int, gid: int) -> bool:
    """Copy a secret to where compose.yaml names it, unless it is the same already; whether it was written."""
    content = source.read_bytes()
    if secret.exists() and secret.read_bytes() == content:
        return False
    write_bytes(secret, content, 0o400)
    if os.geteuid() == 0:
        os.chown(secret, 0, gid)
    if os.geteuid() == 0 or secret.name in OF_GROUP:
        secret.chmod(0o440)
    return True
