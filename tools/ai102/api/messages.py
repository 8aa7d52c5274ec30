"""What is sent and answered as JSON, with worked examples; the OpenAPI document is made from this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from ai102.api.limits import Limits
from ai102.api.problems import Problem

REQUEST_ID = "5f0c6d2e8a1b4c3d"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Message):
    """One label and how sure the model is of it."""

    label: str
    score: float


class Prediction(_Message):
    """What the model says of one image."""

    filename: str = Field(description="The name the file was sent under.")
    label: str
    score: float
    top: list[Score] = Field(description="The best labels, the best first; as many as asked for.")


class Classified(_Message):
    """The answer to a classification, a prediction for each image in the order sent."""

    model: str
    request_id: str
    predictions: list[Prediction]
    latency_ms: float = Field(description="From the whole request to the answer, in this service.")


class Embedded(_Message):
    """The answer to texts, an embedding for each in the order sent."""

    model: str
    request_id: str
    embeddings: list[list[float]] = Field(description="One vector of the model's width for each text.")
    truncated: list[bool] = Field(description="Whether the text was longer than the model reads and was cut.")
    latency_ms: float = Field(description="From the whole request to the answer, in this service.")


class Offered(_Message):
    """One thing that can be asked."""

    task: Literal["classify", "embed"]
    model: str
    route: str
    is_ready: bool
    labels: list[str] = Field(description="In the network's order; empty for embeddings.")
    width: int = Field(description="Of an embedding; 0 for labels, -1 where it varies.")
    max_items: int = Field(description="Images or texts in one request.")
    max_item_size: int = Field(description="Bytes of an image, characters of a text.")
    max_top: int = Field(description="The largest `top`; 0 where there is none.")


class Models(_Message):
    """All that can be asked."""

    models: list[Offered]


class Health(_Message):
    """Whether the service runs."""

    status: Literal["ok"]


class Readiness(_Message):
    """Whether each model answered when it was last asked, a moment ago."""

    status: Literal["ready"]
    models: dict[str, bool]


class ProblemDetails(BaseModel):
    """RFC 9457. `filename` and `position` (from 1) tell which image it was, where that is known."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    filename: str | None = None
    position: int | None = None
    models: dict[str, bool] | None = None
    id: str | None = Field(None, description="Of the job that a key belongs to.")


# Of each answer; in the order in which they are sent, which a JSON schema does not keep.
EXAMPLES: Mapping[type[BaseModel], Mapping[str, Any]] = {
    Classified: {
        "model": "classify_image",
        "request_id": REQUEST_ID,
        "predictions": [
            {
                "filename": "seven.png",
                "label": "seven",
                "score": 0.9981,
                "top": [{"label": "seven", "score": 0.9981}, {"label": "one", "score": 0.0011}],
            }
        ],
        "latency_ms": 3.214,
    },
    Embedded: {
        "model": "embed_text",
        "request_id": REQUEST_ID,
        "embeddings": [[0.0321, -0.0714, 0.0186]],
        "truncated": [False],
        "latency_ms": 8.75,
    },
    Models: {
        "models": [
            {
                "task": "classify",
                "model": "classify_image",
                "route": "/v1/classify",
                "is_ready": True,
                "labels": ["no", "yes"],
                "width": 0,
                "max_items": 32,
                "max_item_size": 8388608,
                "max_top": 2,
            }
        ]
    },
    Health: {"status": "ok"},
    Readiness: {"status": "ready", "models": {"classify_image": True, "embed_text": True}},
}


def texts_type(limits: Limits) -> type[BaseModel]:
    """The body of /v1/embed under these limits: `text`, or `texts`, and nothing else."""
    # "\S": white space alone is no text.
    kind = Annotated[str, StringConstraints(min_length=1, max_length=limits.max_text_chars, pattern=r"\S")]

    def either(schema: dict[str, Any]) -> None:
        schema["oneOf"] = [{"required": ["text"]}, {"required": ["texts"]}]
        for key in schema["properties"].values():
            key.pop("default", None)

    class Texts(_Message):
        """One text, or several."""

        model_config = ConfigDict(strict=True, json_schema_extra=either)

        text: kind = ""
        texts: list[kind] = Field([], min_length=1, max_length=limits.max_texts)

        @model_validator(mode="after")
        def _one_of_them(self) -> Self:
            if len(self.model_fields_set) != 1:
                raise ValueError("send text, or a list texts, and not both")
            return self

    return Texts


def texts_from_json(body: bytes, kind: type[BaseModel]) -> list[str]:
    """The texts of a body of /v1/embed. Raises Problem: 400 for what is no JSON, 422 for what does not fit."""
    try:
        asked: Any = TypeAdapter(kind).validate_json(body)
    except ValidationError as err:
        raise problem_from_validation(err) from err
    return [asked.text] if asked.text else list(asked.texts)


def problem_from_validation(err: ValidationError) -> Problem:
    """The first mistake, without what was sent."""
    first = err.errors(include_input=False, include_url=False)[0]
    if first["type"] == "json_invalid":
        return Problem("malformed", "The body is not valid JSON in UTF-8.")
    return Problem("invalid", sentence_from_mistake(first["loc"], first["type"], first["msg"]))


def sentence_from_mistake(where: tuple[int | str, ...], kind: str, message: str) -> str:
    """ "texts.3: String should have at most 100 characters." A key that the caller made up is not repeated whole."""
    steps = where[1:] if where[:1] in (("query",), ("path",), ("header",)) else where
    place = ".".join(str(step) for step in steps)[:60]
    words = "Send more than white space" if kind == "string_pattern_mismatch" else message.removeprefix("Value error, ")
    return f"{place}: {words}." if place else f"{words[0].upper()}{words[1:]}."
