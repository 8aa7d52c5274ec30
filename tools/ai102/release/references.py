"""References to images by digest, and what `ai102 image push` printed of them."""

from __future__ import annotations

import re
from pathlib import Path

from ai102.errors import UserError
from ai102.images.labels import PREFIX
from ai102.images.layout import read_image

DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
NAME = re.compile(r"^[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9._-]+)*$")
PUSHED = re.compile(r"^pushed (\S+)@(sha256:[0-9a-f]{64})$", re.MULTILINE)
# By the end of an image's name, as `ai102 image push` names them.
SERVERS = ("ai102/server", "ai102/server-gpu")
MODELS = ("ai102/models",)
CONTENT = "content-sha256:"


def by_digest(reference: str, option: str) -> str:
    """NAME@sha256:... without a tag. Raises UserError for a reference without a digest."""
    name, at, digest = reference.partition("@")
    name = without_tag(name)
    if not at:
        raise UserError(
            f'{option} "{reference}" names no digest, and a tag may name another image tomorrow: write '
            f"{name or 'NAME'}@sha256:..., which `ai102 image push` prints"
        )
    if not DIGEST.match(digest):
        raise UserError(f'{option} "{reference}": a digest is sha256: and 64 hex digits in lower case')
    if not NAME.match(name):
        raise UserError(f'{option} "{reference}": "{name}" is no name of an image')
    return f"{name}@{digest}"


def without_tag(name: str) -> str:
    """The colon of a registry's port stays."""
    before, colon, tag = name.rpartition(":")
    return before if colon and "/" not in tag else name


def short(reference: str) -> str:
    """The last part of the name, and the first digits of the digest or the tag."""
    name, _, digest = reference.partition("@")
    last = name.rpartition("/")[2]
    return f"{last}@{digest.removeprefix('sha256:')[:12]}" if digest else last


def printed(file: Path) -> list[tuple[str, str]]:
    """Each image that `ai102 image push` printed, in its order: its name, and NAME@sha256:..., both without a tag.

    Raises UserError for a file that cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise UserError(f"{file}: cannot be read ({err}): name what `ai102 image push` printed") from err
    return [(without_tag(name), f"{without_tag(name)}@{digest}") for name, digest in PUSHED.findall(text)]


def pushed(file: Path) -> tuple[str, str]:
    """The server and the models image out of what `ai102 image push` or `make push` printed; the last of each counts.

    Raises UserError where one is missing, or two kinds of servers were pushed.
    """
    found = dict(printed(file))
    return _only(file, found, SERVERS, "server"), _only(file, found, MODELS, "models")


def content_of(layout: Path, digest: str) -> str | None:
    """The hash of the content of the models image at `layout`, by its label; None where it is no image of that digest.

    None as well where the label names something else, as a revision that somebody gave.
    """
    try:
        image = read_image(layout)
        if image.digest != digest:
            return None
        revision = str(image.config()["config"]["Labels"].get(f"{PREFIX}.revision", ""))
    except (UserError, OSError, ValueError, KeyError, TypeError):  # it was never written here, or is damaged
        return None
    return revision.removeprefix(CONTENT) if revision.startswith(CONTENT) else None


def _only(file: Path, found: dict[str, str], ends: tuple[str, ...], option: str) -> str:
    chosen = [reference for name, reference in found.items() if name.endswith(ends)]
    if len(chosen) != 1:
        has = f"has {len(chosen)}" if chosen else "has none"
        raise UserError(f'{file}: {has} of the lines "pushed .../{ends[0]}@sha256:...": name the image by --{option}')
    return chosen[0]
