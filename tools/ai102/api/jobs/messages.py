"""What is sent and answered under /v1/jobs, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from ai102.api.jobs.asked import MAX_JOBS, MAX_KEY_CHARS
from ai102.api.messages import ProblemDetails
from ai102.jobs.job import State

_ID = "01a22fc8-ead9-76a8-8c3b-bbff3348b02f"
_LATER = "2026-12-01T18:00:00Z"
Id = Annotated[str, Field(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", description="Of a job.")]
_Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY_CHARS)]
_Base64 = Annotated[str, Field(min_length=4, pattern="^[A-Za-z0-9+/]+={0,2}$")]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class JobTensor(_Message):
    """As Triton's REST protocol has it."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] = Field(description="In row-major order; null stands for a number that is not finite.")


def _one_input(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": [key]} for key in ("image", "text", "data", "inputs")]
    for key in schema["properties"].values():
        key.pop("default", None)


class NewJob(_Message):
    """One job: a model and one item for it, a row of a batch."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_one_input)

    model: str = Field(description="A pipeline, or any model that you may ask directly.")
    image: _Base64 = Field("", description="An encoded image, in base64.")
    text: str = Field("", min_length=1)
    data: _Base64 = Field("", description="The bytes of a model's one input, in base64; a sealed payload for example.")
    inputs: list[JobTensor] = Field([], description="Tensors as in POST /v2/models/MODEL/infer, of one row.")
    priority: Literal["high", "normal", "low"] = "normal"
    not_after: datetime = Field(None, description="The job expires when it was not begun by then.")  # type: ignore[assignment]
    callback: str = Field("", description="Gets the job when it has ended.", json_schema_extra={"format": "uri"})
    key: _Key = Field(
        "", description="A second job of yours with the same key is the first one. For one job: Idempotency-Key."
    )


class NewJobs(_Message):
    """Several jobs."""

    jobs: list[NewJob] = Field(min_length=1, max_length=MAX_JOBS)


class Handed(_Message):
    """What came of a job that was handed in: it is accepted, or `problem` says why not."""

    id: Id | None = None
    state: State | None = None
    key: _Key | None = None
    is_repeated: bool | None = Field(None, description="True: the job of an earlier call with the same key.")
    problem: ProblemDetails | None = None


class HandedMany(_Message):
    """An answer for each job, in the order sent."""

    jobs: list[Handed]


class HandedIn(RootModel[Handed | HandedMany]):
    """For one job, or for a list."""


class Shown(_Message):
    """A job."""

    id: Id
    state: State
    model: str
    priority: Literal["high", "normal", "low"]
    accepted: datetime
    key: _Key | None = None
    not_after: datetime | None = None
    ended: datetime | None = None
    kept_until: datetime | None = Field(None, description="Then the job and its answer are removed.")
    error: str | None = None
    outputs: list[JobTensor] | None = Field(None, description="The model's answer, without the batch dimension.")


class Page(_Message):
    """Jobs without their answers, the newest first."""

    jobs: list[Shown]
    next: Id | None = Field(description="The `before` of the next page.")


class Ids(_Message):
    """Jobs to ask about."""

    ids: list[Id] = Field(min_length=1, max_length=MAX_JOBS)


class EndedJobs(_Message):
    """Those that have ended."""

    jobs: list[Shown]
    gone: list[str] = Field(description="Ids of which you have no job: it was never yours, or is no longer kept.")


_SHOWN = {
    "id": _ID,
    "state": "succeeded",
    "model": "classify_image",
    "priority": "normal",
    "accepted": "2026-12-01T04:07:06.202Z",
    "ended": "2026-12-01T04:07:06.253Z",
    "kept_until": "2026-12-02T04:07:06.253Z",
    "outputs": [
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["nine"]},
        {"name": "score", "datatype": "FP32", "shape": [1], "data": [0.9492]},
    ],
}
_PROBLEM = {
    "type": "/docs#forbidden", "title": "Not allowed", "status": 403, "detail": "You may not ask score_image.",
    "instance": "/requests/5f0c6d2e8a1b4c3d", "request_id": "5f0c6d2e8a1b4c3d",
}  # fmt: skip
EXAMPLES: Mapping[type[BaseModel], Mapping[str, Any]] = {
    Handed: {"id": _ID, "state": "queued"},
    HandedIn: {"jobs": [{"id": _ID, "state": "queued"}, {"problem": _PROBLEM}]},
    HandedMany: {"jobs": [{"id": _ID, "state": "queued"}, {"problem": _PROBLEM}]},
    Shown: _SHOWN,
    Page: {"jobs": [{key: value for key, value in _SHOWN.items() if key != "outputs"}], "next": None},
    EndedJobs: {"jobs": [_SHOWN], "gone": []},
}


def body_of_jobs(max_body_bytes: int) -> dict[str, Any]:
    """The body of POST /v1/jobs."""
    text = {"model": "embed_text", "text": "The train to the coast leaves at nine."}
    return {
        "required": True,
        "description": f"One job, or up to {MAX_JOBS}; {max_body_bytes} bytes in all.",
        "content": {
            "application/json": {
                "schema": {"oneOf": [_schema(NewJob), _schema(NewJobs)]},
                "examples": {
                    "one": {"summary": "One job", "value": text},
                    "several": {"summary": "Several jobs", "value": {"jobs": [text, {**text, "not_after": _LATER}]}},
                },
            }
        },
    }


def body_of_ids() -> dict[str, Any]:
    """The body of POST /v1/jobs/ended."""
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": _schema(Ids),
                "examples": {"ids": {"summary": "Two jobs", "value": {"ids": [_ID, _ID[:-1] + "0"]}}},
            }
        },
    }


def _schema(kind: type[BaseModel]) -> dict[str, Any]:
    """The schema with every part of it in place: a request body has no definitions of its own."""
    schema = kind.model_json_schema()
    parts = schema.pop("$defs", {})

    def resolved(value: Any) -> Any:
        if isinstance(value, list):
            return [resolved(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return resolved(parts[value["$ref"].rpartition("/")[2]])
        return {key: resolved(one) for key, one in value.items()}

    return dict(resolved(schema))
