"""Revoking: one token, one login session, or all that a user has."""

from __future__ import annotations

import re

from ai102.errors import UserError
from ai102.issuer import revocations, sessions, users
from ai102.issuer.audit import Origin
from ai102.issuer.database import Change
from ai102.issuer.issuer import Issuer, revoke_session
from ai102.issuer.settings import Settings

JTI = re.compile(r"[A-Za-z0-9._-]{1,128}")


def end_token(issuer: Issuer, token: str, origin: Origin) -> bool:
    """End the login session that a token of either kind belongs to; False when it is no token of ours, or dead.

    The whole session, also for an access token: that is one revocation, however many tokens a session has had.
    """
    claims = issuer.claims_of(token)
    with issuer.database.change() as change:
        if claims is not None:
            if claims["exp"] + issuer.settings.clock_skew_s <= change.now_s:
                return False
            if revoke_session(change, claims["sid"], issuer.settings):
                change.record("revoke", claims["sub"], origin, sid=claims["sid"])
            return True
        if row := sessions.session_of(change.connection, token, change.now_s):
            session, _ = row
            revoke_session(change, session.sid, issuer.settings)
            change.record("revoke", session.user, origin, sid=session.sid)
            return True
    return False


def end_jti(issuer: Issuer, jti: str, origin: Origin) -> None:
    """An access token of which only the id is known; UserError when that is no id."""
    if not JTI.fullmatch(jti):
        raise UserError(f'"{jti[:40]}" is no token id: write the jti as it stands in the token')
    with issuer.database.change() as change:
        ends_s = int(change.now_s) + issuer.settings.token_lifetime_s + issuer.settings.clock_skew_s
        revocations.revoke(change, "jti", jti, ends_s)
        change.record("revoke", "", origin, jti=jti)


def end_user(issuer: Issuer, name: str, origin: Origin) -> int:
    """All tokens and sessions of a user; gives the number of sessions. UserError when there is no such user."""
    with issuer.database.change() as change:
        users.needed(change.connection, name)
        ended = end_all(change, name, issuer.settings)
        change.record("revoke", name, origin, sessions=str(ended))
    return ended


def end_all(change: Change, name: str, settings: Settings) -> int:
    """Within a change; gives the number of sessions."""
    end_access(change, name, settings)
    return sessions.end_all(change, name)


def end_access(change: Change, name: str, settings: Settings) -> None:
    """The access tokens alone: whoever is logged in gets others, with today's rights, for the refresh token."""
    revocations.revoke_user(change, name, settings.token_lifetime_s + settings.clock_skew_s)
