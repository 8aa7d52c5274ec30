"""The addresses of the API, each a thin function over uploads, texts and calls."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from ai102.api import documented
from ai102.api.bodies import check_is_json, chunks, whole
from ai102.api.calls import Calls, Origin
from ai102.api.gate import Gate
from ai102.api.messages import Classified, Embedded, Health, Models, Offered, Readiness, texts_from_json, texts_type
from ai102.api.problems import Problem
from ai102.api.readiness import Readiness as ModelReadiness
from ai102.api.uploads import images_from_form
from ai102.contract.answers import Asked, Classifier, Embedder


def router_for(asked: Asked, gate: Gate, calls: Calls, readiness: ModelReadiness) -> APIRouter:
    """Every route that answers in JSON."""
    router = APIRouter()
    if asked.classifier:
        _add_classify(router, asked.classifier, gate, calls)
    if asked.embedder:
        _add_embed(router, asked.embedder, gate, calls)

    @router.get("/v1/models", summary="What can be asked", tags=["models"], **documented.of(Models, "busy"))
    async def models() -> Response:
        """Every model with its labels and limits, and whether it answers now."""
        return _json(Models(models=list(_offered(asked, gate, await readiness.models()))))

    @router.get("/healthz", summary="Whether the service runs", tags=["health"], **documented.of(Health))
    async def healthz() -> Response:
        """Answers while the process lives; says nothing of Triton."""
        return _json(Health(status="ok"))

    @router.get("/readyz", summary="Whether it can be used", tags=["health"], **documented.of(Readiness, "unavailable"))
    async def readyz() -> Response:
        """Ready when each model has just answered a small inference."""
        models = await readiness.models()
        if not all(models.values()):
            raise Problem("unavailable", "Not every model answers.", models=models)
        return _json(Readiness(status="ready", models=models))

    return router


def _add_classify(router: APIRouter, asked: Classifier, gate: Gate, calls: Calls) -> None:
    limits = gate.limits
    top_query = Query(1, ge=1, le=asked.max_top, description="How many of the best labels to tell.")
    problems = (
        "malformed", "upload-timeout", "too-large", "unsupported-type", "bad-image", "bad-answer", "busy", "deadline",
    )  # fmt: skip

    @router.post(
        "/v1/classify",
        summary="Label images",
        tags=["inference"],
        openapi_extra={"requestBody": documented.form_of_images(limits)},
        **documented.of(Classified, *problems),
    )
    async def classify(
        request: Request,
        top: int = top_query,
    ) -> Response:
        """The label and score of each PNG or JPEG image, in the order sent."""
        with gate.admitted() as held:
            parts = chunks(request, limits.max_upload_bytes, limits, held)
            images = await images_from_form(request.headers.get("content-type", ""), parts, limits)
            began = perf_counter()
            origin = origin_of(request)
            predictions = await calls.classify(asked, images, top, origin, request.receive)
        return _json(
            Classified(
                model=asked.model,
                request_id=origin.request_id,
                predictions=predictions,
                latency_ms=round((perf_counter() - began) * 1000, 3),
            )
        )


def _add_embed(router: APIRouter, asked: Embedder, gate: Gate, calls: Calls) -> None:
    limits = gate.limits
    body = texts_type(limits)
    problems = (
        "malformed", "upload-timeout", "too-large", "unsupported-type", "invalid", "bad-answer", "busy", "deadline",
    )  # fmt: skip

    @router.post(
        "/v1/embed",
        summary="Embed texts",
        tags=["inference"],
        openapi_extra={"requestBody": documented.json_of_texts(body)},
        **documented.of(Embedded, *problems),
    )
    async def embed(request: Request) -> Response:
        """The embedding of one text, or of each of several, in the order sent."""
        check_is_json(request)
        with gate.admitted() as held:
            texts = texts_from_json(await whole(request, limits.max_json_bytes, limits, held), body)
            began = perf_counter()
            origin = origin_of(request)
            vectors = await calls.embed(asked, texts, origin, request.receive)
        return _json(
            Embedded(
                model=asked.model,
                request_id=origin.request_id,
                embeddings=vectors.embeddings,
                truncated=vectors.truncated,
                latency_ms=round((perf_counter() - began) * 1000, 3),
            )
        )


def origin_of(request: Request) -> Origin:
    return Origin(request.state.request_id, request.state.traceparent)


def _offered(asked: Asked, gate: Gate, ready: dict[str, bool]) -> Iterator[Offered]:
    limits = gate.limits
    if images := asked.classifier:
        yield Offered(
            task="classify", model=images.model, route="/v1/classify", is_ready=ready[images.model],
            labels=list(images.labels), width=0, max_items=limits.max_files, max_item_size=limits.max_file_bytes,
            max_top=images.max_top,
        )  # fmt: skip
    if texts := asked.embedder:
        yield Offered(
            task="embed", model=texts.model, route="/v1/embed", is_ready=ready[texts.model], labels=[],
            width=texts.width, max_items=limits.max_texts, max_item_size=limits.max_text_chars, max_top=0,
        )  # fmt: skip


def _json(message: BaseModel) -> Response:
    return Response(message.model_dump_json(), media_type=JSONResponse.media_type)
