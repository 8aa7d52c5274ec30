"""Routes that are asked so often that FastAPI's way to them would cost more than they do themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ai102.api.problems import Problem


class Direct:
    """Stands before the application. A route's endpoint takes the request alone and raises Problem.

    The same routes are FastAPI's too, for the document and for requests with another method.
    """

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[APIRoute],
        answer: Callable[[Request, Exception], Response],
    ) -> None:
        self._app = app
        self._answer = answer
        self._routes: dict[tuple[str, str], tuple[APIRoute, Callable[[Request], Awaitable[Response]]]] = {
            (method, route.path): (route, route.endpoint) for route in routes for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if known is None:
            await self._app(scope, receive, send)
            return
        route, endpoint = known
        scope["route"] = route
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except (Problem, ClientDisconnect) as refusal:
            response = self._answer(request, refusal)
        except Exception as defect:
            await self._answer(request, defect)(scope, receive, send)
            raise
        await response(scope, receive, send)
