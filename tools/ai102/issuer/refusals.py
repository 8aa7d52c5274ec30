"""The answer when a caller gets no token: RFC 6749's word for it, one sentence, and the HTTP status."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - an answer, not a defect
    """An answer that is no success; `error` is a code of RFC 6749, 5.2 (or 6750, 3.1)."""

    def __init__(self, status: int, error: str, sentence: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.error = error
        self.sentence = sentence
        self.retry_after_s = retry_after_s


def invalid_request(sentence: str, status: int = 400) -> Refusal:
    return Refusal(status, "invalid_request", sentence)


def wrong_login() -> Refusal:
    """The same for an unknown user, a wrong password and a disabled user."""
    return Refusal(400, "invalid_grant", "The user name or the password is wrong.")


def dead_refresh_token() -> Refusal:
    """The same for one that never was, has expired, was used or was revoked."""
    return Refusal(400, "invalid_grant", "The refresh token is not valid any more; log in again.")


def unknown_client() -> Refusal:
    return Refusal(401, "invalid_client", "This issuer knows no clients with secrets; send no client credentials.")


def too_wide_scope() -> Refusal:
    return Refusal(400, "invalid_scope", "The scope names a role that this user does not have.")


def slow_down(retry_after_s: int) -> Refusal:
    return Refusal(
        429, "temporarily_unavailable", "Too many failed logins; wait and try again.", retry_after_s=retry_after_s
    )


def too_often(retry_after_s: int) -> Refusal:
    return Refusal(
        429, "temporarily_unavailable", "This user gets no more tokens in this minute.", retry_after_s=retry_after_s
    )


def busy() -> Refusal:
    return Refusal(503, "temporarily_unavailable", "The issuer is busy; try again in a moment.", retry_after_s=1)


def bad_token() -> Refusal:
    return Refusal(401, "invalid_token", "The access token is missing, not valid, expired or revoked.")
