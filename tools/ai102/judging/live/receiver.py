"""POST /answers: where pods of Triton send records of live answers."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ai102.judging.live.record import MAX_BODY, Batch, batch_of


def app_for(take: Callable[[Batch], None]) -> Starlette:
    """204 for records that were taken; 400 or 413 and one line for others."""

    async def answers(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return PlainTextResponse(f"the body has more than {MAX_BODY} bytes", 413)
        try:
            batch = batch_of(bytes(body))
        except ValueError as err:
            return PlainTextResponse(str(err), 400)
        take(batch)
        return Response(status_code=204)

    return Starlette(routes=[Route("/answers", answers, methods=["POST"])])
