"""The issuer over HTTP: RFC 6749 tokens, RFC 7009 revocation, JWKS and discovery."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ai102.errors import UserError
from ai102.issuer import refusals
from ai102.issuer import revoke as ending
from ai102.issuer.forms import form_of, needed, origin_of
from ai102.issuer.issuer import Issuer
from ai102.issuer.key_ages import KeyAges
from ai102.issuer.refusals import Refusal
from ai102.metrics.asgi import Counted

T = TypeVar("T")
LOG = logging.getLogger("uvicorn.error")
MAX_DIGITS = 18
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}


class Threads:
    """Threads of their own for each kind of work: a flood of logins fills its own queue and nobody else's."""

    def __init__(self, logins_waiting: int) -> None:
        self._free = logins_waiting
        self.hashing = CapacityLimiter(max(1, (os.cpu_count() or 2) // 2))
        self.logins = CapacityLimiter(8)
        self.tokens = CapacityLimiter(8)
        self.feed = CapacityLimiter(2)

    @contextmanager
    def place_for_login(self) -> Iterator[None]:
        """One of the places for logins under way, taken at once; Refusal when there is none."""
        if self._free <= 0:
            raise refusals.busy()
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class Endpoints:
    """What each address answers."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._settings = issuer.settings
        self._threads = Threads(issuer.settings.hashes_waiting)

    async def token(self, request: Request) -> Response:
        form = await self._public_form(request)
        match needed(form, "grant_type"):
            case "password":
                answer = await self._login(request, form)
            case "refresh_token":
                token, scope = needed(form, "refresh_token"), form.get("scope", "")
                origin = origin_of(request, self._settings)
                answer = await self._run(lambda: self._issuer.refresh(token, scope, origin), self._threads.tokens)
            case _:
                raise Refusal(400, "unsupported_grant_type", "The grant types are password and refresh_token.")
        return JSONResponse(answer, headers=NO_STORE)

    async def _login(self, request: Request, form: dict[str, str]) -> dict[str, Any]:
        name, password, scope = needed(form, "username"), needed(form, "password"), form.get("scope", "")
        origin, issuer, threads = origin_of(request, self._settings), self._issuer, self._threads
        with threads.place_for_login():  # before the attempt counts as a failure
            login = await self._run(lambda: issuer.begin_login(name, origin), threads.logins)
            is_right = await self._run(lambda: issuer.is_right(login, password), threads.hashing)
            return await self._run(
                lambda: issuer.finish_login(login, password, is_right=is_right, scope=scope), threads.logins
            )

    async def revoke(self, request: Request) -> Response:
        form = await self._public_form(request)
        token, origin = needed(form, "token"), origin_of(request, self._settings)
        await self._run(lambda: ending.end_token(self._issuer, token, origin), self._threads.tokens)
        return JSONResponse({}, headers=NO_STORE)  # the same whether there was such a token (RFC 7009, 2.2)

    async def revoked(self, request: Request) -> Response:
        """The feed that gateways follow. It names users: not for those in front of a gateway."""
        after = request.query_params.get("after", "0")
        if "x-forwarded-for" in request.headers:
            raise HTTPException(404)
        if not after.isdecimal() or len(after) > MAX_DIGITS:
            raise refusals.invalid_request("after is no number of a revocation.")
        page = await self._run(lambda: self._issuer.revoked(int(after)), self._threads.feed)
        return JSONResponse(asdict(page), headers=NO_STORE)

    async def me(self, request: Request) -> Response:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise refusals.bad_token()
        claims = await self._run(lambda: self._issuer.caller(bearer.strip()), self._threads.tokens)
        names = {"name": "sub", "roles": "roles", "grants": "grants", "expires": "exp"}
        return JSONResponse({key: claims[claim] for key, claim in names.items()}, headers=NO_STORE)

    async def jwks(self, request: Request) -> Response:
        jwks = self._issuer.keys.jwks()
        headers = {
            "Cache-Control": f"public, max-age={self._settings.publish_ahead_s}",
            "ETag": jwks.etag,
            "X-Content-Type-Options": "nosniff",
        }
        if jwks.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(jwks.body, media_type="application/json", headers=headers)

    async def discovery(self, _: Request) -> Response:
        document = _discovery(self._issuer.rights.ours.issuer)
        return JSONResponse(document, headers={"Cache-Control": "public, max-age=60"})

    async def _public_form(self, request: Request) -> dict[str, str]:
        form = await form_of(request, self._settings)
        if "authorization" in request.headers or "client_secret" in form:
            raise refusals.unknown_client()
        return form

    async def _run(self, work: Callable[[], T], limiter: CapacityLimiter) -> T:
        return await to_thread.run_sync(work, limiter=limiter)


def app_for(issuer: Issuer) -> Counted:
    """The ASGI application over one issuer."""
    endpoints = Endpoints(issuer)
    app = Starlette(
        routes=[
            Route("/auth/token", endpoints.token, methods=["POST"]),
            Route("/auth/revoke", endpoints.revoke, methods=["POST"]),
            Route("/auth/revoked", endpoints.revoked, methods=["GET"]),
            Route("/auth/me", endpoints.me, methods=["GET"]),
            Route("/.well-known/jwks.json", endpoints.jwks, methods=["GET"]),
            Route("/.well-known/openid-configuration", endpoints.discovery, methods=["GET"]),
        ],
        exception_handlers={Refusal: _refused, HTTPException: _no_route, UserError: _not_in_order},
    )
    counted = Counted(app, [route.path for route in app.routes if isinstance(route, Route)])
    counted.registry.register(KeyAges(issuer.keys))
    return counted


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
