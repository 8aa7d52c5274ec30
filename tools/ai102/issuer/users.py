"""The users in the database: their hash, roles and attributes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from ai102.errors import UserError
from ai102.issuer.database import Change

NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{1,63}")
ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
MAX_VALUE_CHARACTERS = 256


@dataclass(frozen=True)
class User:
    """One user; `attributes` are what grants with a `user` condition look at."""

    name: str
    password_hash: str
    is_disabled: bool
    roles: tuple[str, ...]
    attributes: Mapping[str, str]


def user_named(connection: sqlite3.Connection, name: str) -> User | None:
    row = connection.execute("SELECT name, password_hash, is_disabled FROM users WHERE name = ?", [name]).fetchone()
    if row is None:
        return None
    roles = connection.execute("SELECT role FROM roles WHERE user = ? ORDER BY role", [name]).fetchall()
    pairs = connection.execute("SELECT name, value FROM attributes WHERE user = ? ORDER BY name", [name]).fetchall()
    return User(row[0], row[1], bool(row[2]), tuple(role for (role,) in roles), dict(pairs))


def needed(connection: sqlite3.Connection, name: str) -> User:
    """UserError when there is no such user."""
    if user := user_named(connection, name):
        return user
    raise UserError(f'there is no user "{name}"; `ai102 auth user list` shows them')


def all_users(connection: sqlite3.Connection) -> list[User]:
    names = connection.execute("SELECT name FROM users ORDER BY name").fetchall()
    return [needed(connection, name) for (name,) in names]


def add(change: Change, name: str, password_hash: str, roles: list[str]) -> None:
    """UserError when the name is taken or no name."""
    if not NAME.fullmatch(name):
        raise UserError(f'"{name}" is no user name: write 2 to 64 of a-z, 0-9 and . _ @ -, a letter or digit first')
    if user_named(change.connection, name):
        raise UserError(f'there is a user "{name}" already; `ai102 auth user password {name}` changes the password')
    change.execute(
        "INSERT INTO users (name, password_hash, created_s) VALUES (?, ?, ?)", [name, password_hash, int(change.now_s)]
    )
    give(change, name, roles)


def give(change: Change, name: str, roles: list[str]) -> None:
    change.connection.executemany("INSERT OR IGNORE INTO roles VALUES (?, ?)", [(name, role) for role in roles])


def take(change: Change, name: str, roles: list[str]) -> None:
    """UserError when the user has none of that name."""
    for role in roles:
        if change.execute("DELETE FROM roles WHERE user = ? AND role = ?", [name, role]).rowcount == 0:
            raise UserError(f'"{name}" does not have the role "{role}"')


def describe(change: Change, name: str, attributes: Mapping[str, str]) -> None:
    """Set attributes; an empty value takes the attribute away."""
    for key, value in attributes.items():
        if not ATTRIBUTE.fullmatch(key):
            raise UserError(f'"{key}" names no attribute: write letters, digits, _ and -, a letter first')
        if len(value) > MAX_VALUE_CHARACTERS or not value.isprintable():
            raise UserError(f"attribute {key}: use at most {MAX_VALUE_CHARACTERS} printable characters")
        change.execute("DELETE FROM attributes WHERE user = ? AND name = ?", [name, key])
        if value:
            change.execute("INSERT INTO attributes VALUES (?, ?, ?)", [name, key, value])


def set_hash(change: Change, name: str, password_hash: str, *, was: str | None = None) -> None:
    """Replace the hash; with `was`, only when it still is that one."""
    if was is None:
        change.execute("UPDATE users SET password_hash = ? WHERE name = ?", [password_hash, name])
    else:
        change.execute(
            "UPDATE users SET password_hash = ? WHERE name = ? AND password_hash = ?", [password_hash, name, was]
        )


def set_disabled(change: Change, name: str, is_disabled: bool) -> None:
    change.execute("UPDATE users SET is_disabled = ? WHERE name = ?", [int(is_disabled), name])
