"""Log in, refresh, and tell a caller about itself. Knows no HTTP."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai102.errors import UserError
from ai102.issuer import lockout, private, refusals, revocations, sessions, tokens, users
from ai102.issuer.audit import NOBODY, Origin
from ai102.issuer.database import Change, Database
from ai102.issuer.keys import Keys
from ai102.issuer.lockout import Attempt, Counter, Locked
from ai102.issuer.pace import Pace
from ai102.issuer.passwords import Hasher
from ai102.issuer.refusals import Refusal
from ai102.issuer.rights import Rights
from ai102.issuer.settings import Settings
from ai102.issuer.users import User


@dataclass(frozen=True)
class Login:
    """A login under way: the attempt is counted, the password not yet looked at."""

    user: User | None
    counter: Counter
    attempt: Attempt
    origin: Origin


class Issuer:
    """State in the folder `home` (made when missing), policy from `rights`. Threads may share it."""

    def __init__(
        self,
        home: Path,
        rights: Rights,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
        mask: Callable[[str], str] = lambda line: line,
    ) -> None:
        self.settings = settings or Settings()
        self.rights = rights
        self._clock = clock
        self._pause = pause
        private.folder(home)
        self.database = Database(home / "users.db", home / "audit.jsonl", clock, mask)
        self.keys = Keys(home / "keys", self.settings, clock)
        self.hasher = Hasher(self.settings.hash_cost)
        self._salt = self.database.salt()
        self._pace = Pace(self.settings.tokens_per_minute, clock)

    def begin_login(self, name: str, origin: Origin) -> Login:
        """Count the attempt; Refusal when the name or the address is locked."""
        counter = self.counter_of(name)
        by_address = lockout.address_counter(origin.address, self.settings.lockout_of_address)
        with self.database.change() as change:
            user = users.user_named(change.connection, name)
            attempt = lockout.begin(change, [counter, by_address])
            if isinstance(attempt, Locked) and attempt.is_news:
                change.record("login", user.name if user else NOBODY, origin, "refused", reason="locked out")
        if isinstance(attempt, Locked):
            raise refusals.slow_down(attempt.retry_after_s)
        return Login(user, counter, attempt, origin)

    def counter_of(self, name: str) -> Counter:
        """What counts the failed logins under a user's name."""
        return lockout.user_counter(self._salt, name, self.settings.lockout_of_user)

    def is_right(self, login: Login, password: str) -> bool:
        """The slow part, equally slow when there is no such user."""
        return self.hasher.is_right(login.user.password_hash if login.user else self.hasher.dummy, password)

    def finish_login(self, login: Login, password: str, *, is_right: bool, scope: str) -> dict[str, Any]:
        """RFC 6749's token answer, or Refusal."""
        if login.user and is_right:
            self._wait_for_good_second(login.user.name)
        refusal: Refusal | None = None
        with self.database.change() as change:
            user = users.user_named(change.connection, login.user.name) if login.user else None
            if reason := _why_refused(login.user, user, is_right):
                refusal = refusals.wrong_login()
            else:
                assert user is not None
                lockout.forgive(change, login.attempt, user=login.counter)
                roles = self.rights.narrowed(user.roles, scope)
                if roles is None:
                    reason, refusal = "scope", refusals.too_wide_scope()
                elif wait_s := self._pace.wait_s(user.name):
                    reason, refusal = "too often", refusals.too_often(wait_s)
                else:
                    session, refresh_token = sessions.start(change, user.name, scope, self.settings)
                    answer = self._answer(change, user, session.sid, roles)
            subject = user.name if user else NOBODY
            if refusal:
                change.record("login", subject, login.origin, "refused", reason=reason)
            else:
                change.record("login", subject, login.origin, sid=session.sid)
        if refusal:
            raise refusal
        if login.user and self.hasher.is_outdated(login.user.password_hash):
            new_hash = self.hasher.hash(password)
            with self.database.change() as change:
                users.set_hash(change, login.user.name, new_hash, was=login.user.password_hash)
        return {**answer, "refresh_token": refresh_token}

    def refresh(self, token: str, scope: str, origin: Origin) -> dict[str, Any]:
        """A new pair of tokens for a refresh token; one that comes twice ends its session. Raises Refusal."""
        with self.database.reading() as connection:
            row = sessions.session_of(connection, token, self._clock())
        if row is None:
            raise refusals.dead_refresh_token()  # a guess does not get to lock the database
        self._wait_for_good_second(row[0].user)
        refusal: Refusal | None = None
        with self.database.change() as change:
            row = sessions.session_of(change.connection, token, change.now_s)
            if row is None:
                raise refusals.dead_refresh_token()
            session, was_used = row
            user = users.needed(change.connection, session.user)
            roles = self.rights.narrowed(self.rights.left_of(user.roles, session.scope), scope)
            if was_used:
                # Either the thief or the owner had it first: neither may go on.
                revoke_session(change, session.sid, self.settings)
                reason, refusal = "used twice", refusals.dead_refresh_token()
            elif user.is_disabled:
                reason, refusal = "disabled", refusals.dead_refresh_token()
            elif roles is None:
                reason, refusal = "scope", refusals.too_wide_scope()
            elif wait_s := self._pace.wait_s(user.name):
                reason, refusal = "too often", refusals.too_often(wait_s)
            else:
                sessions.use(change, token)
                refresh_token = sessions.next_token(change, session, self.settings)
                answer = self._answer(change, user, session.sid, roles)
            if refusal:
                change.record("refresh", user.name, origin, "refused", reason=reason, sid=session.sid)
            else:
                change.record("refresh", user.name, origin, sid=session.sid)
        if refusal:
            raise refusal
        return {**answer, "refresh_token": refresh_token}

    def token_for(self, name: str, scope: str, origin: Origin) -> str:
        """An access token without a password, for whoever may read the keys; UserError when the user may have none."""
        self._wait_for_good_second(name)
        with self.database.change() as change:
            user = users.needed(change.connection, name)
            if user.is_disabled:
                raise UserError(f'"{name}" is disabled: `ai102 auth user disable --undo {name}` ends that')
            roles = self.rights.narrowed(user.roles, scope)
            if roles is None:
                raise UserError(f'"{name}" does not have all of the roles "{scope}"; `ai102 auth user list` shows them')
            sid = secrets.token_hex(16)
            answer = self._answer(change, user, sid, roles)
            change.record("token", name, origin, sid=sid)
        return str(answer["access_token"])

    def claims_of(self, token: str) -> dict[str, Any] | None:
        """What a token of ours says, expired or revoked or not; None for any other."""
        ours = self.rights.ours
        return tokens.verified(token, self.keys, issuer=ours.issuer, audience=ours.audience)

    def caller(self, token: str) -> dict[str, Any]:
        """The claims of a token that is good now, and its grants under today's policy; Refusal for any other."""
        claims = self.claims_of(token)
        if claims is None or not claims["nbf"] <= self._clock() < claims["exp"]:
            raise refusals.bad_token()
        with self.database.reading() as connection:
            if revocations.is_revoked(connection, claims):
                raise refusals.bad_token()
        return claims | {"grants": self.rights.grants(tuple(claims["roles"]), claims.get("attributes", {}))}

    def revoked(self, after: int = 0) -> revocations.Page:
        """What a gateway must refuse although it has not expired: some of those revoked after the one of a number."""
        with self.database.reading() as connection:
            return revocations.page_after(connection, after, self._clock(), self.settings.feed_rows)

    def _answer(self, change: Change, user: User, sid: str, roles: tuple[str, ...]) -> dict[str, Any]:
        ours = self.rights.ours
        claims = tokens.claims(
            issuer=ours.issuer,
            audience=ours.audience,
            user=user.name,
            sid=sid,
            roles=roles,
            attributes=self.rights.asked_of(user.attributes),
            now_s=int(change.now_s),
            lifetime_s=self.settings.token_lifetime_s,
        )
        return {
            "access_token": tokens.signed(claims, self.keys.signing()),
            "token_type": "Bearer",
            "expires_in": self.settings.token_lifetime_s,
            "scope": " ".join(roles),
        }

    def _wait_for_good_second(self, user: str) -> None:
        """Tokens count whole seconds: one issued in the second of a revocation would be born revoked."""
        with self.database.reading() as connection:
            good_from_s = revocations.not_before_s(connection, user)
        if 0 < (left_s := good_from_s - self._clock()) <= 1:
            self._pause(left_s)


def revoke_session(change: Change, sid: str, settings: Settings) -> bool:
    """End a login session with all its tokens; False when it was revoked before."""
    sessions.end(change, sid)
    return revocations.revoke(change, "sid", sid, int(change.now_s) + settings.token_lifetime_s + settings.clock_skew_s)


def _why_refused(then: User | None, now: User | None, is_right: bool) -> str:
    """ "" when the login is good; a user that changed while the password was looked at must log in again."""
    if then is None or now is None:
        return "no such user"
    if not is_right or now.password_hash != then.password_hash:
        return "wrong password"
    return "disabled" if now.is_disabled else ""
