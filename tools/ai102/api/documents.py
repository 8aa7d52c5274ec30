"""The documentation as a page: made from the OpenAPI document, with no script and nothing from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ai102.api.html import Html, html_from_parts, style
from ai102.api.problems import KINDS, example_of

_Object = Mapping[str, Any]


class _Example(NamedTuple):
    title: str
    text: str


class _Route(NamedTuple):
    method: str
    path: str
    operation: _Object
    requests: list[_Example]
    answers: list[_Example]


def documentation(document: _Object) -> Html:
    """The page at /docs."""
    environment = Environment(
        loader=PackageLoader("ai102.api", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("docs.html.j2").render(
        document=document,
        paragraphs=[part.split("`") for part in document["info"]["description"].strip().split("\n\n")],
        routes=list(_routes(document)),
        kinds=KINDS,
        allowed=lambda schema: _allowed(
            document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
        ),
        problem=_written(example_of("bad-image")),
        placeholder=Markup("{{style}}"),
    )
    return html_from_parts(text, style())


def _routes(document: _Object) -> Iterator[_Route]:
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            body = operation.get("requestBody", {}).get("content", {})
            answers = list(_answers(operation["responses"], schemas))
            yield _Route(method.upper(), path, operation, list(_requests(path, body)), answers)


def _allowed(schema: _Object) -> str:
    """ "1 to 10, default 1" of a parameter's schema."""
    words = [f"{schema['minimum']} to {schema['maximum']}"] if "minimum" in schema else []
    words += [", ".join(schema["enum"])] if "enum" in schema else []
    return ", ".join([*words, *([f"default {schema['default']}"] if schema.get("default") else [])]) or schema["type"]


def _answers(responses: _Object, schemas: _Object) -> Iterator[_Example]:
    for status, response in responses.items():
        reference = response["content"].get("application/json", {}).get("schema", {}).get("$ref", "")
        example = schemas.get(reference.rpartition("/")[2], {}).get("example")
        if status.startswith("2") and example:
            yield _Example("Answer", _written(example))


def _requests(path: str, body: _Object) -> Iterator[_Example]:
    if "multipart/form-data" in body:
        yield _Example(
            "Request", f"curl -F 'images=@\"one.png\"' -F 'images=@\"two.jpg\"' 'http://HOST:PORT{path}?top=2'"
        )
    for example in body.get("application/json", {}).get("examples", {}).values():
        data = json.dumps(example["value"])
        yield _Example(
            example["summary"], f"curl -H 'Content-Type: application/json' -d '{data}' 'http://HOST:PORT{path}'"
        )


def _written(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
