"""The whole application: routes, errors, documents and the page behind one edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp

from ai102.api import documented
from ai102.api.calls import Calls
from ai102.api.direct import Direct
from ai102.api.documents import documentation
from ai102.api.edge import GONE, Edge
from ai102.api.gate import Gate
from ai102.api.html import Html, page
from ai102.api.jobs import routes as job_routes
from ai102.api.limits import Limits
from ai102.api.messages import sentence_from_mistake
from ai102.api.problems import MEDIA_TYPE, Problem
from ai102.api.readiness import Readiness
from ai102.api.routes import router_for
from ai102.client import AsyncClient
from ai102.contract.answers import Asked
from ai102.contract.served import ServedModel
from ai102.jobs.service import Jobs
from ai102.metrics.asgi import Counted
from ai102.tracing.spans import Span


class JobsHere(NamedTuple):
    """Jobs that this server takes, and for which models."""

    jobs: Jobs
    models: Mapping[str, ServedModel]
    limits: job_routes.Limits = job_routes.Limits()


class Application(NamedTuple):
    """What a server runs, and the gate that tells what is under way."""

    asgi: ASGIApp
    gate: Gate


def application(
    asked: Asked,
    client: AsyncClient,
    limits: Limits,
    log: Callable[[str], None],
    add_span: Callable[[Span], None] | None = None,
    registry: CollectorRegistry | None = None,
    jobs: JobsHere | None = None,
) -> Application:
    """Belongs to the running event loop, as the client does; whoever opened the client closes it.

    `registry`: what GET /metrics tells beside what is counted here.
    """
    gate = Gate(limits)
    app = FastAPI(
        title="AI-102 on Triton", version="1", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    router = router_for(asked, gate, Calls(client, gate), Readiness(client, asked))
    app.include_router(router)
    of_jobs = job_routes.router_for(jobs.jobs, jobs.models, gate, jobs.limits) if jobs else APIRouter()
    app.include_router(of_jobs)
    direct = [route for route in of_jobs.routes if isinstance(route, APIRoute) and route.name == "submit"]
    _add_documents(app, page())
    _add_problems(app)
    paths = [route.path for route in (*router.routes, *of_jobs.routes, *app.routes) if isinstance(route, Route)]
    return Application(Counted(Edge(Direct(app, direct, _refused), log, add_span), paths, registry), gate)


def _add_documents(app: FastAPI, start: Html) -> None:
    document = cache(lambda: documented.document_of(app))
    docs = cache(lambda: documentation(document()))

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(document())

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return start.response()

    @app.get("/docs", include_in_schema=False)
    async def documents() -> Response:
        return docs().response()


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(request: Request, err: Problem) -> Response:
        return _answer(request, err)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, err: RequestValidationError) -> Response:
        first = err.errors()[0]
        return _answer(request, Problem("invalid", sentence_from_mistake(first["loc"], first["type"], first["msg"])))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, err: HTTPException) -> Response:
        if err.status_code == 405:
            allowed = (err.headers or {}).get("Allow", "")
            detail = f"This address takes {allowed}."
            return _answer(request, Problem("method-not-allowed", detail, headers={"Allow": allowed}))
        if err.status_code == 404:
            return _answer(request, Problem("not-found", "There is nothing at this address."))
        return _answer(request, Problem("malformed", "The request cannot be read."))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, err: ClientDisconnect) -> Response:
        return _refused(request, err)

    @app.exception_handler(Exception)
    async def failed(request: Request, err: Exception) -> Response:
        return _refused(request, err)


def _refused(request: Request, err: Exception) -> Response:
    match err:
        case Problem():
            return _answer(request, err)
        case ClientDisconnect():
            return Response(status_code=GONE)  # nobody reads it; the log does
        case _:
            detail = "Something went wrong here; the request id finds it in the log."
            return _answer(request, Problem("failed", detail))


def _answer(request: Request, problem: Problem) -> Response:
    return JSONResponse(problem.body(request.state.request_id), problem.status, problem.headers, media_type=MEDIA_TYPE)
