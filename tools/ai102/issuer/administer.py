"""What an administrator does to users; each is one change with its line in the audit log."""

from __future__ import annotations

from collections.abc import Mapping

from ai102.issuer import lockout, passwords, revoke, users
from ai102.issuer.audit import Origin
from ai102.issuer.issuer import Issuer


def add(issuer: Issuer, name: str, password: str, roles: list[str], attributes: Mapping[str, str], by: Origin) -> None:
    """UserError for a name that is taken, an unknown role, a weak password."""
    issuer.rights.check_roles(roles)
    password_hash = issuer.hasher.hash(passwords.checked(password, name))
    with issuer.database.change() as change:
        users.add(change, name, password_hash, roles)
        users.describe(change, name, attributes)
        change.record("user add", name, by, roles=" ".join(roles))


def set_password(issuer: Issuer, name: str, password: str, by: Origin) -> None:
    """Ends all that was issued on the former password, and a lock-out."""
    with issuer.database.reading() as connection:
        users.needed(connection, name)
    password_hash = issuer.hasher.hash(passwords.checked(password, name))
    with issuer.database.change() as change:
        users.needed(change.connection, name)
        users.set_hash(change, name, password_hash)
        revoke.end_all(change, name, issuer.settings)
        lockout.unlock(change, issuer.counter_of(name))
        change.record("user password", name, by)


def give_roles(issuer: Issuer, name: str, roles: list[str], by: Origin) -> None:
    """Tokens that are out gain nothing; the next one has the roles."""
    issuer.rights.check_roles(roles)
    with issuer.database.change() as change:
        users.needed(change.connection, name)
        users.give(change, name, roles)
        change.record("user role", name, by, given=" ".join(roles))


def take_roles(issuer: Issuer, name: str, roles: list[str], by: Origin) -> None:
    """Access tokens that are out end with the role they name; sessions go on without it."""
    with issuer.database.change() as change:
        users.needed(change.connection, name)
        users.take(change, name, roles)
        revoke.end_access(change, name, issuer.settings)
        change.record("user role", name, by, taken=" ".join(roles))


def describe(issuer: Issuer, name: str, attributes: Mapping[str, str], by: Origin) -> None:
    """Set attributes, or take those away whose value is empty; access tokens that are out end, sessions go on."""
    with issuer.database.change() as change:
        users.needed(change.connection, name)
        users.describe(change, name, attributes)
        revoke.end_access(change, name, issuer.settings)
        change.record("user attribute", name, by, set=" ".join(attributes))


def set_disabled(issuer: Issuer, name: str, is_disabled: bool, by: Origin) -> None:
    """A disabled user's tokens and sessions end; enabled again, the user logs in anew, locked out or not."""
    with issuer.database.change() as change:
        users.needed(change.connection, name)
        users.set_disabled(change, name, is_disabled)
        if is_disabled:
            revoke.end_all(change, name, issuer.settings)
        else:
            lockout.unlock(change, issuer.counter_of(name))
        change.record("user disable" if is_disabled else "user enable", name, by)
