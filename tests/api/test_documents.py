"""The OpenAPI document and the pages: true examples, and nothing from outside."""

import asyncio
import base64
import hashlib
import re
from typing import Any

import pytest
from jsonschema_rs import validator_for

from ai102.api.problems import KINDS
from tests.api.stand_in import api


async def fetched(path: str) -> Any:
    async with api() as service:
        return await service.http.get(path)


def test_every_example_is_valid_by_its_schema() -> None:
    document = asyncio.run(fetched("/openapi.json")).json()
    seen = 0
    for operations in document["paths"].values():
        for operation in operations.values():
            places = [
                *operation["responses"].values(),
                *([operation["requestBody"]] if "requestBody" in operation else []),
            ]
            for content in (content for place in places for content in place["content"].values()):
                schema = {**content["schema"], "components": document["components"]}
                examples = [example["value"] for example in content.get("examples", {}).values()]
                if name := content["schema"].get("$ref", "").rpartition("/")[2]:
                    examples += [document["components"]["schemas"][name].get("example")]
                for example in filter(None, examples):
                    validator_for(schema).validate(example)
                    seen += 1
    assert seen > 20


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_brings_all_it_needs(path: str) -> None:
    answer = asyncio.run(fetched(path))
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    assert re.findall(r"""(?:src|href)=["']?(https?:|//)""", answer.text) == []
    assert re.findall(r"""\s(?:on[a-z]+|style)=["']""", answer.text) == []
    for tag in ("style", "script"):
        for content in re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL):
            assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy


def test_every_kind_of_problem_has_its_place_in_the_documentation() -> None:
    text = asyncio.run(fetched("/docs")).text
    assert [kind for kind in KINDS if f'<tr id="{kind}">' not in text] == []
    assert "{{" not in text
