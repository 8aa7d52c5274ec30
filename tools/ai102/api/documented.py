"""What the OpenAPI document says beyond the code: bodies, errors and worked examples."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from ai102.api.jobs import messages as job_messages
from ai102.api.limits import Limits
from ai102.api.messages import EXAMPLES, ProblemDetails
from ai102.api.problems import KINDS, MEDIA_TYPE, example_of

DESCRIPTION = """Labels for images and embeddings for texts, answered by NVIDIA Triton; now, or as jobs later.

Every error is an RFC 9457 problem, `application/problem+json`, with one sentence in `detail`. Every answer carries
`X-Request-Id`: the one sent, if it is 1 to 64 letters, digits, dots, dashes or underscores, else a new one.
Behind the gateway each request under `/v1` needs `Authorization: Bearer TOKEN`.
"""
_REF = {"$ref": "#/components/schemas/ProblemDetails"}
# How a problem may come by before a route is asked.
_ANYWHERE = ("failed",)


def of(answer: type[BaseModel], *kinds: str, status: int = 200) -> dict[str, Any]:
    """The arguments of a route that answers `answer` with `status`, or a problem of one of these kinds."""
    by_status: dict[int, list[str]] = {}
    for kind in (*kinds, *_ANYWHERE):
        by_status.setdefault(KINDS[kind].status, []).append(kind)
    if {"bad-image", "unavailable"} & set(kinds):
        by_status.setdefault(422, []).append("invalid")
    if "busy" in kinds:
        by_status[503].append("unavailable")
    return {
        "response_model": answer,
        "status_code": status,
        "responses": {status: _response(kinds) for status, kinds in sorted(by_status.items())},
    }


def _response(kinds: list[str]) -> dict[str, Any]:
    status = KINDS[kinds[0]].status
    response: dict[str, Any] = {
        "description": " or ".join(dict.fromkeys(KINDS[kind].title for kind in kinds)),
        "content": {MEDIA_TYPE: {"schema": _REF, "examples": {kind: {"value": example_of(kind)} for kind in kinds}}},
    }
    if status in (429, 503):
        response["headers"] = {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}}
    return response


def stream(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that answers with server-sent events, or a problem of one of these kinds."""
    problems: dict[int | str, dict[str, Any]] = {}
    for kind in (*kinds, *_ANYWHERE):
        problems[KINDS[kind].status] = _response([kind])
    events = {"description": "Events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    return {200: events} | problems


def form_of_images(limits: Limits) -> dict[str, Any]:
    """The body of /v1/classify."""
    size = limits.max_file_bytes
    return {
        "required": True,
        "description": f"PNG or JPEG images, each at most {size} bytes; {limits.max_upload_bytes} bytes in all.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "additionalProperties": False,
                    "properties": {
                        "images": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": limits.max_files,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                },
                "encoding": {"images": {"contentType": "image/png, image/jpeg"}},
            }
        },
    }


def json_of_texts(body: type[BaseModel]) -> dict[str, Any]:
    """The body of /v1/embed."""
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": body.model_json_schema(),
                "examples": {
                    "one": {"summary": "One text", "value": {"text": "The train to the coast leaves at nine."}},
                    "several": {
                        "summary": "Several texts",
                        "value": {"texts": ["The train to the coast leaves at nine.", "Slow, rude and too dear."]},
                    },
                },
            }
        },
    }


def document_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application's routes."""
    document = get_openapi(
        title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, openapi_version="3.1.0"
    )
    schemas = document["components"]["schemas"]
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
    for answer, example in (*EXAMPLES.items(), *job_messages.EXAMPLES.items()):
        if answer.__name__ in schemas:
            schemas[answer.__name__]["example"] = example
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document
