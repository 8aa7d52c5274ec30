"""Records: nested values, keys that name a secret, numbers, bytes."""

import pytest

from ai102.masking import Masker

CASES = [
    ({"a": "13800138000"}, {"a": "[phone]"}),
    ({"user": {"tel": ["13800138000", "x"], "n": 3}}, {"user": {"tel": ["[phone]", "x"], "n": 3}}),
    ({"phone": 13800138000, "count": 13}, {"phone": "[phone]", "count": 13}),
    ({"phone": 13800138000.0, "ratio": 0.5}, {"phone": "[phone]", "ratio": 0.5}),
    ({"Authorization": "Bearer x", "cookie": "a=b"}, {"Authorization": "[secret]", "cookie": "[secret]"}),
    ({"accessToken": "x", "db-password": 5, "API_KEY": ["a"]},
     {"accessToken": "[secret]", "db-password": "[secret]", "API_KEY": "[secret]"}),
    ({"token": {"id": "x"}, "secret_access_key": b"x"}, {"token": "[secret]", "secret_access_key": "[secret]"}),
    ({"max_tokens": 5, "token_count": 3, "tokenizer": "b"}, {"max_tokens": 5, "token_count": 3, "tokenizer": "b"}),
    ({"token": None, "password": "[secret]"}, {"token": None, "password": "[secret]"}),
    ({"password": "[secret]13"}, {"password": "[secret]"}),
    ({"headers": [("authorization", "x"), (b"cookie", b"y"), ("accept", "*/*")]},
     {"headers": [("authorization", "[secret]"), (b"cookie", "[secret]"), ("accept", "*/*")]}),
    ({"13800138000": True}, {"[phone]": True}),
    ({"body": b"tel 13800138000 \xff"}, {"body": b"tel [phone] \xff"}),
    ({"all": {"13800138000"}, "pair": ("1.2.3.4", 5)}, {"all": {"[phone]"}, "pair": ("[ip]", 5)}),
    ({1: None, 2: True}, {1: None, 2: True}),
]  # fmt: skip


@pytest.mark.parametrize(("record", "masked"), CASES)
def test_a_record_is_masked_whole(masker: Masker, record: dict[object, object], masked: dict[object, object]) -> None:
    assert masker.mask_record(record) == masked
    assert masker.mask_record(masked) == masked


def test_the_record_that_came_in_stays_as_it_was(masker: Masker) -> None:
    record = {"a": ["13800138000"]}
    masker.mask_record(record)
    assert record == {"a": ["13800138000"]}


def test_a_record_that_holds_itself_comes_to_an_end(masker: Masker) -> None:
    record: dict[str, object] = {}
    record["again"] = record
    assert "[too deep]" in str(masker.mask_record(record))


def test_an_object_that_prints_something_personal_becomes_its_masked_text(masker: Masker) -> None:
    class User:
        def __str__(self) -> str:
            return "User(13800138000)"

    assert masker.mask_record({"user": User()}) == {"user": "User([phone])"}
