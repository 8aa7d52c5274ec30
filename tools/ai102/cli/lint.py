"""The subcommand lint: checks any Triton model repository without a server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from ai102.errors import UserError


def lint(
    path: Annotated[
        Path, typer.Argument(help="A model repository, or the folder of one model in it.", metavar="[PATH]")
    ] = Path("model_repository"),
    format: Annotated[
        Literal["text", "json", "sarif", "github", "gitlab"], typer.Option(help="How to print the findings.")
    ] = "text",
    fix: Annotated[bool, typer.Option("--fix", help="Repair findings that have one safe repair.")] = False,
    triton: Annotated[str, typer.Option(help="The tritonserver version.")] = "2.51",
    no_files: Annotated[
        bool, typer.Option("--no-files", help="Skip checks of files that are built, such as model.onnx.")
    ] = False,
    explain: Annotated[str | None, typer.Option(help="Explain a code, such as MR305.", metavar="CODE")] = None,
) -> None:
    """Check a Triton model repository without a server (exit 1 if there is any finding).

    An error is a config that the server refuses, a warning is a config that loads but will cause trouble.
    """
    from ai102.lint import Finding
    from ai102.lint import fix as repairs
    from ai102.lint import lint as findings_in
    from ai102.lint.formats import FORMATS

    if explain is not None:
        typer.echo(_explanation(explain))
        return
    if not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?", triton):
        raise UserError(f"--triton is {triton}: write a version of tritonserver such as 2.51")
    root, model = _repository_and_model(path)

    def check() -> list[Finding]:
        return findings_in(root, triton=triton, check_files=not no_files, model=model)

    if fix:
        count, findings = repairs.fix(root, check)
        typer.echo(f"repaired {count} {'place' if count == 1 else 'places'}", err=True)
    else:
        findings = check()
    text = FORMATS[format](findings, "" if str(root) == "." else f"{root.as_posix()}/")
    # The name of a folder may hold bytes that are not UTF-8.
    printable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    typer.echo(printable, nl=bool(findings) or format != "github")
    if findings:
        raise typer.Exit(1)


def _repository_and_model(path: Path) -> tuple[Path, str | None]:
    """The folder of one model is checked within its repository, since an ensemble needs the other models."""
    if not path.is_dir():
        raise UserError(f"there is no folder {path}: name a model repository, or the folder of one model in it")
    if (path / "config.pbtxt").is_file():
        whole = path.resolve()
        return (path.parent if path.name not in ("", "..") else whole.parent), whole.name
    if not any(folder.is_dir() for folder in path.iterdir()):
        raise UserError(f"{path} holds no model: name a model repository, or the folder of one model in it")
    return path, None


def _explanation(name: str) -> str:
    from ai102.lint.catalogue import CODES

    code = CODES.get(name.upper())
    if code is None:
        raise UserError(f"there is no code {name}: the codes are {', '.join(CODES)}")
    return f"{code.code} {code.severity}: {code.title}\n\n{code.why}"
