"""A release's name is made of all that defines it, and of nothing else; what is no release is refused in one line."""

import json
from typing import Any

import pytest

from ai102.release.document import DocumentError, canonical, release_from, release_from_json
from tests.release.documents import document, release


def test_the_name_is_the_start_of_the_hash_of_the_content() -> None:
    one = release()
    assert one.name == f"r-{one.sha256[:12]}"
    assert release().name == one.name
    assert release("c").name != one.name


def test_one_value_has_one_spelling() -> None:
    assert canonical({"b": [1, 2.50], "a": "ü"}) == '{"a":"ü","b":[1,2.5]}'.encode()


def test_reading_gives_back_the_same_release() -> None:
    one = release()
    again = release_from_json(json.loads(canonical(one.raw)))
    assert (again.name, again.document) == (one.name, one.document)
    assert release_from(again.document).name == one.name


def test_a_field_that_a_later_program_adds_with_a_default_leaves_old_names_as_they_are() -> None:
    raw = json.loads(canonical(release().raw))
    del raw["models"]["classify"]["is_stateful"]  # as if it had been written before there was such a field
    old = release_from_json(raw)
    assert old.document == document()
    assert old.name != release().name
    assert release_from_json(json.loads(canonical(old.raw))).name == old.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "its format is 2 and this program knows 1: run a newer ai102"),
        ({"format": "1"}, "it is no release"),
        ({"models": {}}, "models: dictionary should have at least 1 item"),
        ({"images": {"server": "x:tag", "models": "y:tag"}}, "images.server: string should match pattern"),
        ({"contract": {"text": "else", "sha256": "0" * 64}}, "the text of its contract has another sha256"),
        ({"more": 1}, "more: extra inputs are not permitted"),
    ],
)
def test_what_is_no_release_is_one_line(change: dict[str, Any], message: str) -> None:
    raw = json.loads(canonical(release().raw))
    with pytest.raises(DocumentError, match=message):
        release_from_json({**raw, **change})
