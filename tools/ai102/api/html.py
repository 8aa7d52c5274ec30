"""Pages in one piece: style and script inside them, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import NamedTuple

from starlette.responses import HTMLResponse, Response


class Html(NamedTuple):
    """A page and its Content-Security-Policy."""

    text: str
    policy: str

    def response(self) -> Response:
        return HTMLResponse(self.text, headers={"Content-Security-Policy": self.policy, "Cache-Control": "no-cache"})


def page() -> Html:
    """The page on which a person tries the API."""
    return html_from_parts(_part("page.html"), _part("style.css"), _part("page.js"))


def html_from_parts(text: str, style: str, script: str = "") -> Html:
    """`text` with style and script in place of {{style}} and {{script}}; only these two may run, by their hashes."""
    policy = [
        "default-src 'none'",
        f"style-src {_hash(style)}",
        f"script-src {_hash(script)}" if script else "",
        "connect-src 'self'" if script else "",
        "img-src 'self' blob: data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    whole = text.replace("{{style}}", style).replace("{{script}}", script)
    return Html(whole, "; ".join(rule for rule in policy if rule))


def style() -> str:
    return _part("style.css")


def _part(name: str) -> str:
    return resources.files("ai102.api").joinpath("page", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
