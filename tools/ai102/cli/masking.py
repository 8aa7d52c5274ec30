"""Subcommands of `ai102 masking`: check, apply, reveal, new-key."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from ai102.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
RulesFile = Annotated[Path, typer.Option("--rules", help="The masking rules.")]
RULES = Path("masking.toml")
Input = Annotated[str, typer.Argument(help="A file, or - for standard input.")]


@app.command()
def check(file: Input = "-", rules: RulesFile = RULES) -> None:
    """Print each place that would be masked in a file, and its rule; the output holds the unmasked values."""
    from ai102.masking import Masker, stream

    masker, counts = Masker.of(rules), Counter[str]()
    with _lines(file) as lines, _as_pipe():
        for line in stream.check(masker, lines, counts):
            sys.stdout.buffer.write((line + "\n").encode("utf-8", "surrogateescape"))
        sys.stdout.flush()
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    typer.echo(f"{counts.total()} to mask{f': {kinds}' if kinds else ''}", err=True)


@app.command()
def apply(file: Input = "-", rules: RulesFile = RULES) -> None:
    """Mask every line of a stream and write it at once; JSON stays JSON.

    `program 2>&1 | ai102 masking apply`
    """
    from ai102.masking import Masker, pipe

    masker = Masker.of(rules)
    with _lines(file) as lines, _as_pipe():
        pipe.run(masker, lines.fileno(), sys.stdout.buffer)


@app.command()
def reveal(file: Input = "-", rules: RulesFile = RULES) -> None:
    """Decrypt the sealed marks in a log with the keys (exit 1 if one cannot be decrypted)."""
    from ai102.masking import keys, load, marks

    seal, known, failed = load(rules).seal, dict[str, bytes](), 0

    def key_of(key_id: str) -> bytes:
        if key_id not in known:
            known[key_id] = keys.key(seal, key_id)
        return known[key_id]

    with _lines(file) as lines, _as_pipe():
        for line in lines:
            text, count = marks.revealed(line.decode("utf-8", "surrogateescape"), key_of)
            failed += count
            sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
            sys.stdout.flush()
    if failed:
        typer.echo(
            f"ai102: {failed} marks do not open with the key that they name: they were altered, or the key differs",
            err=True,
        )
        raise typer.Exit(1)


@app.command("new-key")
def new_key(
    name: Annotated[str, typer.Argument(help="salt, or the id of a key, such as k1.")], rules: RulesFile = RULES
) -> None:
    """Create a salt or a key, in the private file that masking.toml names."""
    from ai102.masking import keys, load
    from ai102.masking.rules import KEY_ID

    loaded = load(rules)
    if not KEY_ID.match(name):
        raise UserError(
            f'"{name}" is no key id: write a small letter, then up to 15 small letters and digits, such as k1'
        )
    path = loaded.salt.file if name == "salt" else loaded.seal.folder / f"{name}.key"
    keys.write_new(path)
    typer.echo(f"wrote {path}")


@contextmanager
def _lines(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as opened:
            yield opened
    except (FileNotFoundError, IsADirectoryError) as err:
        raise UserError(f"{file}: {err.strerror}; name a text file, or - for standard input") from err


@contextmanager
def _as_pipe() -> Iterator[None]:
    """When the reader of stdout exits early, such as `head`, the command ends without an error."""
    try:
        yield
    except BrokenPipeError:
        sys.stdout = None  # nothing is left to flush at exit
        raise typer.Exit(0) from None
