"""The issuer over HTTP: RFC 6749 tokens, RFC 7009 revocation, JWKS and discovery."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ai102.errors import UserError
from ai102.issuer import refusals
from ai102.issuer import revoke as ending
from ai102.issuer.forms import form_of, needed, origin_of
from ai102.issuer.issuer import Issuer
from ai102.issuer.refusals import Refusal

T = TypeVar("T")
LOG = logging.getLogger("uvicorn.error")
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}


class Hashing:
    """Argon2 in few threads of its own: a flood of logins fills this queue and nobody else's."""

    def __init__(self, waiting: int) -> None:
        self._limiter = CapacityLimiter(max(1, (os.cpu_count() or 2) // 2))
        self._free = waiting

    def check_room(self) -> None:
        """Refusal when the queue is full."""
        if self._free <= 0:
            raise refusals.busy()

    async def run(self, work: Callable[[], T]) -> T:
        self._free -= 1
        try:
            return await to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._free += 1


def app_for(issuer: Issuer) -> FastAPI:
    """The ASGI application over one issuer."""
    app = FastAPI(title="ai102 issuer", docs_url=None, redoc_url=None, openapi_url=None)
    hashing = Hashing(issuer.settings.hashes_waiting)
    settings = issuer.settings

    @app.post("/auth/token")
    async def token(request: Request) -> Response:
        form = await form_of(request, settings)
        if "authorization" in request.headers or "client_secret" in form:
            raise refusals.unknown_client()
        origin, scope = origin_of(request, settings), form.get("scope", "")
        match needed(form, "grant_type"):
            case "password":
                name, password = needed(form, "username"), needed(form, "password")
                hashing.check_room()  # before the attempt counts as a failure
                login = await to_thread.run_sync(issuer.begin_login, name, origin)
                is_right = await hashing.run(lambda: issuer.is_right(login, password))
                answer = await to_thread.run_sync(
                    lambda: issuer.finish_login(login, password, is_right=is_right, scope=scope)
                )
            case "refresh_token":
                refresh_token = needed(form, "refresh_token")
                answer = await to_thread.run_sync(issuer.refresh, refresh_token, scope, origin)
            case _:
                raise Refusal(400, "unsupported_grant_type", "The grant types are password and refresh_token.")
        return JSONResponse(answer, headers=NO_STORE)

    @app.post("/auth/revoke")
    async def revoke(request: Request) -> Response:
        form = await form_of(request, settings)
        if "authorization" in request.headers or "client_secret" in form:
            raise refusals.unknown_client()
        dying, origin = needed(form, "token"), origin_of(request, settings)
        await to_thread.run_sync(ending.end_token, issuer, dying, origin)
        return JSONResponse({}, headers=NO_STORE)  # the same whether there was such a token (RFC 7009, 2.2)

    @app.get("/auth/revoked")
    async def revoked(request: Request) -> Response:
        # It names users: for the machine behind the door, not for those in front of it.
        if "x-forwarded-for" in request.headers:
            raise HTTPException(404)
        return JSONResponse(await to_thread.run_sync(issuer.revoked), headers=NO_STORE)

    @app.get("/auth/me")
    async def me(request: Request) -> Response:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise refusals.bad_token()
        claims = await to_thread.run_sync(issuer.caller, bearer.strip())
        names = {"name": "sub", "roles": "roles", "grants": "grants", "expires": "exp"}
        return JSONResponse({key: claims[claim] for key, claim in names.items()}, headers=NO_STORE)

    @app.get("/.well-known/jwks.json")
    async def jwks(request: Request) -> Response:
        found = issuer.keys.jwks()
        headers = {
            "Cache-Control": f"public, max-age={settings.publish_ahead_s}",
            "ETag": found.etag,
            "X-Content-Type-Options": "nosniff",
        }
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(found.body, media_type="application/json", headers=headers)

    @app.get("/.well-known/openid-configuration")
    async def discovery() -> Response:
        return JSONResponse(_discovery(issuer.rights.ours.issuer), headers={"Cache-Control": "public, max-age=60"})

    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(UserError, _not_in_order)
    return app


def _discovery(issuer: str) -> dict[str, Any]:
    root = issuer.rstrip("/")
    return {
        "issuer": issuer,
        "token_endpoint": f"{root}/auth/token",
        "revocation_endpoint": f"{root}/auth/revoke",
        "jwks_uri": f"{root}/.well-known/jwks.json",
        "grant_types_supported": ["password", "refresh_token"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
    }


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    headers = dict(NO_STORE)
    if refusal.error == "invalid_token":
        headers["WWW-Authenticate"] = 'Bearer realm="ai102", error="invalid_token"'
    elif refusal.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="ai102"'
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    content = {"error": refusal.error, "error_description": refusal.sentence}
    return JSONResponse(content, status_code=refusal.status, headers=headers)


async def _no_route(_: Request, err: Exception) -> Response:
    assert isinstance(err, HTTPException)
    sentence = {404: "There is nothing here.", 405: "This address takes another method."}.get(err.status_code, "No.")
    content = {"error": "invalid_request", "error_description": sentence}
    return JSONResponse(content, status_code=err.status_code, headers={**NO_STORE, **(err.headers or {})})


async def _not_in_order(request: Request, err: Exception) -> Response:
    """Files that are spoilt or a database that is kept: an administrator's to put right, while the server stays up."""
    LOG.error("%s", err)
    return await _refused(request, refusals.busy())
