"""The file of a release: its document, who built it when, and its signatures, in the one spelling of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ai102.errors import UserError
from ai102.release.document import DocumentError, Release, canonical, release_from_json
from ai102.release.keys import Known, Signer

# So that a signature of this key under another kind of text is none of a release.
DOMAIN = b"ai102 release 1\n"
SUFFIX = ".json"


class Built(BaseModel):
    """Who wrote it and when; `is_checked`: the models image was compared with the model repository."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    at: str
    by: str
    note: str
    is_checked: bool


class Signature(BaseModel):
    """Over document, `Built`, and who signed when."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    at: str
    by: str
    key: str
    signature: str


@dataclass(frozen=True)
class Envelope:
    release: Release
    built: Built
    signatures: tuple[Signature, ...] = ()

    @property
    def name(self) -> str:
        return self.release.name

    @property
    def content(self) -> bytes:
        """The file."""
        return canonical(
            {
                "built": self.built.model_dump(),
                "release": self.release.raw,
                "signatures": [each.model_dump() for each in self.signatures],
            }
        ) + b"\n"  # fmt: skip

    def signed(self, signer: Signer, at: str, by: str) -> Envelope:
        """With one signature more; the same where this key has signed already."""
        if any(each.key == signer.key_id for each in self.signatures):
            return self
        signature = signer.signature(self._signed_content(at, by, signer.key_id))
        return replace(
            self, signatures=(*self.signatures, Signature(at=at, by=by, key=signer.key_id, signature=signature))
        )

    def signers(self, known: Mapping[str, Known]) -> list[Signature]:
        """The signatures of known keys. Raises UserError when one of them is false."""
        ours = [each for each in self.signatures if each.key in known]
        for each in ours:
            if not known[each.key].has_signed(self._signed_content(each.at, each.by, each.key), each.signature):
                raise UserError(
                    f"{self.name}: the signature of {known[each.key].name} ({each.key}) is not of this text: somebody "
                    "has changed the file; take it from a backup, or build the release again"
                )
        return ours

    def _signed_content(self, at: str, by: str, key: str) -> bytes:
        return DOMAIN + canonical(
            {"at": at, "built": self.built.model_dump(), "by": by, "key": key, "release": self.release.raw}
        )


def envelope_from_file(file: Path) -> Envelope:
    """Raises UserError for what is no release, or none of this name."""
    try:
        content = file.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as err:
        raise UserError(f"{file}: {err.strerror}: take it from a backup") from err
    try:
        envelope = _envelope(json.loads(content))
    except (ValueError, RecursionError) as err:  # an error of JSON, UTF-8 or the document
        raise UserError(f"{file}: not a release as ai102 wrote it ({_line(err)}): take it from a backup") from err
    if envelope.name != file.name.removesuffix(SUFFIX):
        raise UserError(
            f"{file}: its content is that of {envelope.name}: somebody has changed or renamed the file; "
            "take it from a backup, or build the release again"
        )
    if envelope.content != content:
        raise UserError(
            f"{file}: it is not spelled as ai102 wrote it: somebody has changed the file; take it from a backup"
        )
    return envelope


def _envelope(raw: Any) -> Envelope:
    if not isinstance(raw, dict) or set(raw) != {"built", "release", "signatures"}:
        raise DocumentError("it is no release")
    if not isinstance(raw["signatures"], list):
        raise DocumentError("its signatures are no list")
    release = release_from_json(raw["release"])
    signatures = tuple(Signature.model_validate(each) for each in raw["signatures"])
    return Envelope(release, Built.model_validate(raw["built"]), signatures)


def _line(err: BaseException) -> str:
    if isinstance(err, ValidationError):
        first = err.errors()[0]
        return f"{'.'.join(str(key) for key in first['loc'])}: {first['msg'].lower()}"
    return " ".join(str(err).split())[:200] or type(err).__name__
