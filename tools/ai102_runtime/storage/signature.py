"""The signature of a request without a body, version 4.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

SERVICE = "s3"
NO_BODY = hashlib.sha256(b"").hexdigest()
# What is never written as %XX.
UNRESERVED = "-._~"


@dataclass(frozen=True)
class Credentials:
    access_key: str
    secret_key: str
    region: str


def path_of(*names: str) -> str:
    """The path of a URL: a slash inside of a name stays one."""
    return "/" + "/".join(quote(name, safe=f"/{UNRESERVED}") for name in names)


def query_of(parameters: Mapping[str, str]) -> str:
    """In the one order that a signature knows."""
    pairs = sorted((quote(key, safe=UNRESERVED), quote(value, safe=UNRESERVED)) for key, value in parameters.items())
    return "&".join(f"{key}={value}" for key, value in pairs)


def headers_of(
    method: str, host: str, path: str, query: str, credentials: Credentials, now: datetime
) -> dict[str, str]:
    """The headers of a signed request; `path` and `query` are as above, `now` is in UTC."""
    time = f"{now:%Y%m%dT%H%M%SZ}"
    scope = f"{now:%Y%m%d}/{credentials.region}/{SERVICE}/aws4_request"
    signed = {"host": host, "x-amz-content-sha256": NO_BODY, "x-amz-date": time}
    names = ";".join(sorted(signed))
    lines = [f"{name}:{signed[name]}\n" for name in sorted(signed)]
    request = "\n".join([method, path, query, "".join(lines), names, NO_BODY])
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for word in (*scope.split("/"), text):
        key = hmac.digest(key, word.encode(), "sha256")
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return {**signed, "authorization": authorization}
