"""masking.toml, read once: what is masked and how, or one line for each mistake."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from ai102.contract.mistakes import table_from_file
from ai102.contract.table import Table, checked_networks
from ai102.errors import UserError
from ai102.masking.patterns import KINDS

Kind = Literal["secret", "token", "email", "identity", "card", "phone", "landline", "ip", "name"]
Action = Literal["replace", "hash", "seal", "keep"]
KEY_ID = re.compile(r"^[a-z][a-z0-9]{0,15}$")  # it becomes part of every sealed mark
KeyId = Annotated[str, StringConstraints(pattern=KEY_ID.pattern)]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
HAS_LAST_FOUR = ("identity", "card", "phone", "landline")


class Salt(Table):
    """Where the salt of hashes is: the variable if it is set, else the file. Paths are relative to masking.toml."""

    file: Path = Field(Path("build/masking/salt"), examples=['"/run/secrets/masking-salt"'])
    variable: Variable = Field("AI102_MASKING_SALT", examples=['"AI102_MASKING_SALT"'])


class Seal(Table):
    """Which key seals, and where keys are: the variable VARIABLE_KEYID if it is set, else the file FOLDER/KEYID.key."""

    key: KeyId = Field("k1", examples=['"k1"'])
    folder: Path = Field(Path("build/masking/keys"), examples=['"/run/secrets/masking"'])
    variable: Variable = Field("AI102_MASKING_KEY", examples=['"AI102_MASKING_KEY"'])


class Rule(Table):
    """One kind of thing and what is done with it."""

    kind: Kind = Field(examples=['"phone"'])
    action: Action = Field("replace", examples=['"replace"'])
    spare: tuple[str, ...] = Field((), examples=['["127.0.0.0/8"]'])  # networks whose addresses stay
    names: tuple[str, ...] = Field((), examples=['["Wang Xiaoming"]'])
    names_file: Path | None = Field(None, examples=['"names.txt"'])  # one a line

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.spare and self.kind != "ip":
            raise ValueError(f"spare is for the kind ip, this is {self.kind}; take it out")
        if (self.names or self.names_file) and self.kind != "name":
            raise ValueError(f"names are for the kind name, this is {self.kind}; take them out")
        if self.action == "keep" and self.kind not in HAS_LAST_FOUR:
            raise ValueError(
                f'action is "keep", which leaves the last 4 of a number, but {self.kind} is none; write for example '
                f'action = "replace"'
            )
        return self

    @field_validator("spare")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return checked_networks(networks)

    @field_validator("names")
    @classmethod
    def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            refuse_name(name)
        return names


class Rules(Table):
    """All of masking.toml. Of two matches of the same span the rule that stands first wins."""

    rules: tuple[Rule, ...] = Field(min_length=1, examples=["one table [[rules]] per kind"])
    keys: tuple[str, ...] = Field((), examples=['["session", "invite"]'])  # more keys whose values are secrets
    salt: Salt = Salt()
    seal: Seal = Seal()

    @model_validator(mode="after")
    def _kinds_differ(self) -> Self:
        kinds = [rule.kind for rule in self.rules]
        if double := next((kind for kind in kinds if kinds.count(kind) > 1), None):
            raise ValueError(f'rules has the kind "{double}" twice: write one table for each kind')
        return self

    @field_validator("keys")
    @classmethod
    def _are_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if empty := next((key for key in keys if not any(character.isalnum() for character in key)), None):
            raise ValueError(f'has "{empty}", which has no letter; write for example "session"')
        return keys


def refuse_name(name: str) -> None:
    """Raises ValueError when masking this name would hit words that are none, or our own marks."""
    name = name.strip()
    if len(name) < 2 or not any(character.isalpha() for character in name):
        raise ValueError(f'"{name}" is too short for a name: one character would be masked everywhere; write 2 or more')
    if name.lower() in KINDS:
        raise ValueError(f'"{name}" is the word of a mark such as [{name.lower()}]; write the whole name')


def load(path: Path) -> Rules:
    """The rules in `path`, names of names_file read in; UserError has one line per mistake."""
    rules = table_from_file(path, Rules)
    home = path.parent
    return rules.model_copy(
        update={
            "rules": tuple(_with_names(rule, home) for rule in rules.rules),
            "salt": rules.salt.model_copy(update={"file": home / rules.salt.file}),
            "seal": rules.seal.model_copy(update={"folder": home / rules.seal.folder}),
        }
    )


def _with_names(rule: Rule, home: Path) -> Rule:
    if rule.names_file is None:
        return rule
    file = home / rule.names_file
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        for name in names:
            refuse_name(name)
    except FileNotFoundError as err:
        raise UserError(f"masking.toml: names_file is {file}: no such file; write it, one name a line") from err
    except (UnicodeDecodeError, ValueError) as err:
        raise UserError(f"{file}: {err}") from err
    return rule.model_copy(update={"names": (*rule.names, *names), "names_file": None})
