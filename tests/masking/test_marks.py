"""Hashes that join, sealed values that open for who has the key, last digits that stay."""

import base64
import os
import re
import stat
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.masking import Masker, keys, load, marks

SALT = "0123456789abcdef0123456789abcdef"
KEY = base64.b64encode(bytes(range(64))).decode()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("AI102_MASKING_SALT", raising=False)
    monkeypatch.delenv("AI102_MASKING_KEY_K1", raising=False)
    return tmp_path


def masker_with(folder: Path, action: str, kinds: str = "phone card identity landline ip email name") -> Masker:
    names = {"name": 'names = ["Ann Lee"]'}
    tables = (f'[[rules]]\nkind = "{kind}"\naction = "{action}"\n{names.get(kind, "")}\n' for kind in kinds.split())
    (folder / "masking.toml").write_text("".join(tables), encoding="utf-8")
    return Masker.of(folder / "masking.toml")


SPELLINGS = [
    ["13800138000", "+86 138 0013 8000", "0086-13800138000", "１３８００１３８０００", "1380013\u200b8000"],  # noqa: RUF001
    ["010-62345678", "(010) 6234 5678", "+86 10 62345678", "86-10-62345678", "01062345678"],
    ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111"],
    ["2001:db8::1", "2001:DB8:0:0:0:0:0:1"],
    ["10.1.2.3", "::ffff:10.1.2.3", "010.001.002.003"],
    ["Ann@Example.com", "ann@example.com"],
    ["Ann Lee", "ann.lee", "ANN_LEE"],
    ["11010119900307387X", "11010119900307387x", "110101 19900307 387X"],
]


@pytest.mark.parametrize("spellings", SPELLINGS, ids=lambda spellings: spellings[-1])
def test_all_spellings_of_a_value_have_one_hash(
    folder: Path, monkeypatch: pytest.MonkeyPatch, spellings: list[str]
) -> None:
    monkeypatch.setenv("AI102_MASKING_SALT", SALT)
    masker = masker_with(folder, "hash")
    hashes = {masker.mask(spelling) for spelling in spellings}
    assert len(hashes) == 1
    assert re.fullmatch(r"\[[a-z]+#[A-Za-f]{16}\]", hashes.pop())


def test_another_value_another_kind_and_another_salt_give_another_hash() -> None:
    ours, theirs = marks.hashed(SALT.encode()), marks.hashed(b"another salt of 24 bytes")
    hashes = [ours("phone", "13800138000"), ours("phone", "13800138001"), ours("card", "13800138000"),
            theirs("phone", "13800138000")]  # fmt: skip
    assert len({mark.partition("#")[2] for mark in hashes}) == 4


def test_masking_without_its_salt_is_refused_in_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no salt in AI102_MASKING_SALT or .*new-key salt") as raised:
        masker_with(folder, "hash")
    assert "\n" not in str(raised.value)


def test_a_short_salt_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI102_MASKING_SALT", "short")
    with pytest.raises(UserError, match="the salt of masking is 5 bytes, fewer than 16"):
        masker_with(folder, "hash")


def test_a_missing_or_wrong_key_is_refused_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match='the key "k1" is neither in AI102_MASKING_KEY_K1 nor in'):
        masker_with(folder, "seal")
    monkeypatch.setenv("AI102_MASKING_KEY_K1", "not base64!")
    with pytest.raises(UserError, match='the key "k1" is not 64 bytes in base64') as raised:
        masker_with(folder, "seal")
    assert "not base64!" not in str(raised.value)


def test_a_sealed_mark_opens_with_its_key_and_masks_to_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI102_MASKING_KEY_K1", KEY)
    masker = masker_with(folder, "seal")
    text = "电话+86 138 0013 8000 of ann@example.com, 2001:db8::1"
    masked = masker.mask(text)
    assert re.fullmatch(r"电话\[phone~k1~\w+\] of \[email~k1~\w+\], \[ip~k1~\w+\]", masked)
    assert masker.mask(masked) == masked
    assert marks.revealed(masked, lambda key_id: base64.b64decode(KEY)) == (text, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda mark: mark.replace("phone", "card"),
        lambda mark: mark[:-2] + ("A" if mark[-2] != "A" else "B") + "]",
        lambda mark: mark[:12] + "]",
        lambda mark: "[phone~k1~A]",
    ],
)
def test_an_altered_mark_does_not_open(change: object) -> None:
    key = bytes(range(64))
    assert callable(change)
    altered = change(marks.sealed("k1", key)("phone", "13800138000"))
    assert marks.revealed(altered, lambda key_id: key) == (altered, 1)


def test_hashed_and_sealed_marks_are_inert_for_every_rule(masker: Masker) -> None:
    seal, hashed = marks.sealed("k1", bytes(range(64))), marks.hashed(SALT.encode())
    for number in range(500):
        text = f"password={seal('phone', f'{number}')} token={hashed('ip', f'10.0.0.{number % 256}')} x"
        assert masker.mask(text) == text


def test_the_last_four_of_a_number_stay(folder: Path) -> None:
    masker = masker_with(folder, "keep", "phone card identity landline")
    got = masker.mask("13800138000 4111 1111 1111 1111 11010119900307387x 010-62345678")
    assert got == "[phone*8000] [card*1111] [identity*387X] [landline*5678]"
    assert masker.mask(got) == got


def test_a_new_key_is_private_and_never_written_over(folder: Path) -> None:
    path = folder / "new" / "k1.key"
    keys.write_new(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600  # noqa: PTH116
    with pytest.raises(UserError, match="is there already"):
        keys.write_new(path)
    (folder / "masking.toml").write_text(
        'rules = [{ kind = "phone", action = "seal" }]\n[seal]\nfolder = "new"', encoding="utf-8"
    )
    assert Masker(load(folder / "masking.toml")).mask("13800138000").startswith("[phone~k1~")
