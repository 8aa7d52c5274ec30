"""One question over HTTP, and why it was not answered."""

import ssl
import urllib.error
import urllib.request

TIMEOUT_S = 5.0


class UnhealthyError(Exception):
    """What does not answer as it should; one line."""


class RefusedError(UnhealthyError):
    """It was answered with an error."""


class LateError(UnhealthyError):
    """It was not answered in time."""


def answer(request: urllib.request.Request, timeout_s: float = TIMEOUT_S) -> bytes:
    """The answer's content; raises LateError, RefusedError, or UnhealthyError where nobody listens."""
    # A name of the certificate says nothing on the loopback, and no proxy of the environment may stand between.
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)]
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as response:
            content: bytes = response.read()
            return content
    except urllib.error.HTTPError as err:
        reason = err.read(300).decode("utf-8", "replace").strip()
        raise RefusedError(f"{request.full_url}: {err.code} {reason}") from err
    except (OSError, ValueError) as err:
        is_late = isinstance(err, TimeoutError) or isinstance(getattr(err, "reason", None), TimeoutError)
        raise (LateError if is_late else UnhealthyError)(f"{request.full_url}: {err}") from err
