"""Make, rotate and list the keys of a folder: what `ai102 keys` does."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ai102.artifact import write_bytes
from ai102.errors import UserError
from ai102_runtime.seal.envelope import KEY_BYTES, KEY_ID
from ai102_runtime.seal.keys import (
    ACTIVE,
    OPEN,
    RETIRED,
    SUFFIX,
    KeyFacts,
    KeysError,
    active_id_of,
    facts_of_folder,
    text_from_secret,
)

TIME = "%Y-%m-%dT%H:%M:%SZ"


class Row(NamedTuple):
    """A key for people; status is active, open or retired."""

    key_id: str
    fingerprint: str
    status: str
    created: str
    age_days: float | None


def new(folder: Path, key_id: str, now: datetime) -> str:
    """Make a key, and the folder if need be; returns its id. The first key of a folder is active at once.

    Without a `key_id` it is called after the day. Raises UserError when there is a key of that id.
    """
    if key_id and not KEY_ID.match(key_id):
        raise UserError(f'"{key_id}" is no key id: write up to 32 lower-case letters, digits and hyphens')
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    with _changing(folder):
        key_id = _made(folder, key_id, now)
        if not _active_id(folder) and len(_facts(folder)) == 1:
            write_bytes(folder / ACTIVE, f"{key_id}\n".encode())
    return key_id


def rotate(folder: Path, key_id: str, retire: str, now: datetime) -> tuple[str, str]:
    """Make `key_id` the key that seals, a new one without; returns its id and that of the one before, "" for none.

    The one before opens on; `retire` names a key that from now on opens nothing. Raises UserError.
    """
    with _changing(folder):
        facts, before = {one.key.id: one for one in _facts(folder)}, _active_id(folder)
        if key_id and (key_id not in facts or facts[key_id].status != OPEN):
            raise UserError(f"{folder}: no open key {key_id}: it has {_ids(list(facts.values()))}")
        if retire and retire not in facts:
            raise UserError(f"{folder}: no key {retire} to retire: it has {_ids(list(facts.values()))}")
        if retire and retire == key_id:
            raise UserError(f"key {retire} cannot be made active and retired at once: name another to retire")
        if not key_id:
            key_id = before if retire and retire != before else _made(folder, "", now)
        if key_id != before:
            write_bytes(folder / ACTIVE, f"{key_id}\n".encode())
        if retire:
            _rewrite(folder, facts[retire], RETIRED)
    return key_id, before


def rows(folder: Path, now: datetime) -> list[Row]:
    """Every key of the folder, newest last. Raises UserError."""
    active = _active_id(folder)
    facts = sorted(_facts(folder), key=lambda one: (one.created, one.key.id))
    return [
        Row(
            one.key.id,
            one.key.fingerprint,
            "active" if one.key.id == active and one.status == OPEN else one.status,
            one.created,
            _age_days(one.created, now),
        )
        for one in facts
    ]


def _made(folder: Path, key_id: str, now: datetime) -> str:
    taken = {file.name.removesuffix(SUFFIX) for file in folder.glob(f"*{SUFFIX}")}
    if key_id in taken:
        raise UserError(f"{folder}: there is a key {key_id}; give the new one another id")
    day = now.strftime("%Y-%m-%d")
    key_id = key_id or next(name for name in (day, *(f"{day}-{n}" for n in range(2, 10_000))) if name not in taken)
    text = text_from_secret(secrets.token_bytes(KEY_BYTES), now.strftime(TIME), OPEN)
    write_bytes(folder / f"{key_id}{SUFFIX}", text.encode())
    return key_id


def _rewrite(folder: Path, facts: KeyFacts, status: str) -> None:
    file = folder / f"{facts.key.id}{SUFFIX}"
    text = file.read_text(encoding="utf-8")
    if "Status: " in text:
        text = text.replace(f"Status: {facts.status}\n", f"Status: {status}\n", 1)
    else:  # the base64 alone
        text = f"-----BEGIN AI102 KEY-----\nStatus: {status}\n\n{text.strip()}\n-----END AI102 KEY-----\n"
    write_bytes(file, text.encode())


def _facts(folder: Path) -> list[KeyFacts]:
    try:
        return facts_of_folder(folder)
    except KeysError as err:
        raise UserError(str(err)) from err


def _active_id(folder: Path) -> str:
    try:
        return active_id_of(folder)
    except KeysError as err:
        raise UserError(str(err)) from err


@contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """One change at a time, of keys that can be read."""
    _facts(folder)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def _age_days(created: str, now: datetime) -> float | None:
    try:
        return (now - datetime.strptime(created, TIME).replace(tzinfo=UTC)).total_seconds() / 86400
    except ValueError:
        return None


def _ids(facts: list[KeyFacts]) -> str:
    return ", ".join(f"{one.key.id} ({one.status})" for one in facts) or "none"
