"""Whether a release may be put into service: a known key has signed it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ai102.errors import UserError
from ai102.release.envelope import Envelope, Signature
from ai102.release.keys import Known


def trusted(envelope: Envelope, known: Mapping[str, Known], folder: Path) -> list[Signature]:
    """The signatures that count. Raises UserError, with who signed and which keys are known, where there is none."""
    if signers := envelope.signers(known):
        return signers
    signed = ", ".join(f"{each.key} (by {each.by}, {each.at})" for each in envelope.signatures) or "nobody"
    keys = ", ".join(f"{each.key_id} ({each.name})" for each in known.values()) or "none"
    raise UserError(
        f"{envelope.name}: no known key has signed it: signed by {signed}; known keys in {folder}: {keys}: "
        f"sign it with `ai102 release sign {envelope.name} --key FILE`, or put the signer's .pub file there"
    )
