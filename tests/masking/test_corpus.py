"""What is masked and what is not, case by case; by ai102, by the exported Lua, by the exported expressions."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ai102.masking import Masker, load, lua, portable

from .conftest import RULES
from .corpus import Case, cases

CASES = cases()
MARK = re.compile(r"\[[a-z]+\]")


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.text)[:60])
def test_the_masker_makes_of_it_what_the_corpus_says(masker: Masker, case: Case) -> None:
    assert masker.mask(case.text) == case.masked


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.text)[:60])
def test_masking_masked_text_changes_nothing(masker: Masker, case: Case) -> None:
    assert masker.mask(case.masked) == case.masked


def test_the_corpus_is_large_enough_and_has_every_kind() -> None:
    positive = [case for case in CASES if case.is_positive]
    assert len(positive) >= 150
    assert len(CASES) - len(positive) >= 150
    kinds = {rule.kind for rule in load(RULES).rules}
    assert {mark[1:-1] for case in positive for mark in MARK.findall(case.masked)} >= kinds


@pytest.mark.parametrize("lua_name", ["lua5.3", "lua5.1"])
def test_the_exported_lua_does_the_same(lua_name: str, tmp_path: Path) -> None:
    if not shutil.which(lua_name):
        pytest.skip(f"no {lua_name} on PATH")
    lines = [case for case in CASES if "\n" not in case.text]
    program = tmp_path / "masking.lua"
    program.write_text(lua.lua_from_rules(load(RULES)), encoding="utf-8")
    done = subprocess.run(
        [lua_name, program, "--pipe"],
        input="".join(f"{case.text}\n" for case in lines).encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    got = done.stdout.decode().split("\n")[:-1]
    wrong = [(case.text, text) for case, text in zip(lines, got, strict=True) if text != case.masked]
    assert wrong == []


@pytest.mark.parametrize("lua_name", ["lua5.3", "lua5.1"])
def test_fluent_bits_callback_masks_records(lua_name: str, tmp_path: Path) -> None:
    if not shutil.which(lua_name):
        pytest.skip(f"no {lua_name} on PATH")
    (tmp_path / "masking.lua").write_text(lua.lua_from_rules(load(RULES)), encoding="utf-8")
    (tmp_path / "calls.lua").write_text(
        'dofile("masking.lua")\n'
        'local record = {log = "tel 13800138000", n = 7, tel = 13800138000}\n'
        'record.headers, record.list = {["X-Api-Key"] = "k"}, {"a@b.cn"}\n'
        'local code, time, masked = mask_record_filter("tag", 1.5, record)\n'
        "print(code, time, masked.log, masked.n, masked.tel, masked.headers['X-Api-Key'], masked.list[1])\n"
        'print(select(3, mask_record_filter("tag", 1.5, {f = function() end, [{}] = 1})) ~= nil)\n',
        encoding="utf-8",
    )
    done = subprocess.run([lua_name, "calls.lua"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "2\t1.5\ttel [phone]\t7\t[phone]\t[secret]\t[email]\ntrue\n"


def test_the_exported_expressions_find_all_that_is_written_in_ascii() -> None:
    exported = json.loads(portable.json_from_rules(load(RULES)))
    steps = [
        (re.compile(one["expression"]), re.sub(r"\$\{(\d)\}", r"\\g<\1>", one["replacement"]))
        for rule in exported["rules"]
        for one in rule["portable"]
    ]
    missed = []
    for case in CASES:
        text = case.text
        for expression, replacement in steps * 2:
            text = expression.sub(replacement, text)
        if case.is_positive and case.text.isascii() and len(MARK.findall(text)) < len(MARK.findall(case.masked)):
            missed.append((case.text, text))
    assert missed == []
