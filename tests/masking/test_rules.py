"""masking.toml, and what is said when it is wrong."""

from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.masking import Masker, load

ROOT = Path(__file__).parent.parent.parent
WRONG = {
    "": "rules is missing; write for example rules = one table [[rules]] per kind",
    'rules = [{ kind = "fax" }]': "rules[0].kind is 'fax'",
    'rules = [{ kind = "phone", action = "hide" }]': "rules[0].action is 'hide'",
    'rules = [{ kind = "phone", acton = "hash" }]': "rules[0].acton is not a key; did you mean action?",
    'rules = [{ kind = "email", action = "keep" }]': 'action is "keep", which leaves the last 4 of a number',
    'rules = [{ kind = "phone" }, { kind = "phone" }]': 'rules has the kind "phone" twice',
    'rules = [{ kind = "phone", spare = ["10.0.0.0/8"] }]': "spare is for the kind ip",
    'rules = [{ kind = "ip", spare = ["10.0.0.1/8"] }]': '"10.0.0.1/8" is not a network',
    'rules = [{ kind = "email", names = ["Bob"] }]': "names are for the kind name",
    'rules = [{ kind = "name", names = ["李"] }]': '"李" is too short for a name',
    'rules = [{ kind = "name", names = ["Phone"] }]': '"Phone" is the word of a mark',
    'rules = [{ kind = "name", names_file = "nobody.txt" }]': "nobody.txt: no such file",
    'keys = ["-"]\nrules = [{ kind = "phone" }]': 'keys.has "-", which has no letter',
    'rules = [{ kind = "phone" }]\n[seal]\nkey = "K-1"': "seal.key is 'K-1'",
    "rules = [": "not valid TOML",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items())
def test_a_mistake_is_one_line_that_names_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "masking.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        load(file)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file; run this in the folder that holds masking\.toml"):
        load(tmp_path / "masking.toml")


def test_the_rules_of_this_repository_mask_without_any_key() -> None:
    masker = Masker.of(ROOT / "masking.toml")
    assert masker.mask("4111111111111111 of 13800138000 at 127.0.0.1") == "[card*1111] of [phone] at 127.0.0.1"


def test_names_may_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("王小明\n\nAnn Lee\n", encoding="utf-8")
    (tmp_path / "masking.toml").write_text('rules = [{ kind = "name", names_file = "names.txt" }]', encoding="utf-8")
    assert Masker.of(tmp_path / "masking.toml").mask("王小明 wrote to ann-lee") == "[name] wrote to [name]"


def test_of_two_matches_of_one_span_the_first_rule_wins(tmp_path: Path) -> None:
    file, both = tmp_path / "masking.toml", "password=eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IifQ."
    file.write_text('rules = [{ kind = "token" }, { kind = "secret" }]', encoding="utf-8")
    assert Masker.of(file).mask(both) == "password=[token]"
    file.write_text('rules = [{ kind = "secret" }, { kind = "token" }]', encoding="utf-8")
    assert Masker.of(file).mask(both) == "password=[secret]"
