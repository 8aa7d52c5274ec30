"""One GET of a server inside our own network, and one line where it does not answer."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from ai102.errors import UserError

# A large Triton has some thousand series, 100 bytes each.
MAX_BYTES = 64 << 20


class NoAnswerError(UserError):
    """A server that does not answer, or not with what was asked."""


def fetched(address: str, timeout_s: float, *, takes_errors: bool = False) -> str:
    """The body at `address`, past any proxy of the environment. Raises NoAnswerError.

    `takes_errors`: the body of a refusal (4xx) is given too, for a server that explains itself in it.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=timeout_s) as answer:
            return str(answer.read(MAX_BYTES).decode("utf-8", "replace"))
    except urllib.error.HTTPError as err:
        with err:
            if takes_errors and 400 <= err.code < 500:
                return err.read(MAX_BYTES).decode("utf-8", "replace")
        raise NoAnswerError(f"{address} answers with status {err.code}") from err
    except TimeoutError as err:
        raise NoAnswerError(f"{address} does not answer within {timeout_s:g} s") from err
    except urllib.error.URLError as err:
        reason = f"within {timeout_s:g} s" if isinstance(err.reason, TimeoutError) else f"({_word(err.reason)})"
        raise NoAnswerError(f"{address} does not answer {reason}") from err
    except (OSError, http.client.HTTPException, ValueError) as err:
        raise NoAnswerError(f"{address} does not answer ({_word(err)})") from err


def _word(reason: object) -> str:
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
