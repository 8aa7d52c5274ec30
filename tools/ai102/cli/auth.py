"""Subcommands of `ai102 auth`: serve, user, token, revoke, rotate-keys, explain."""

from __future__ import annotations

import getpass
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ai102.errors import UserError

if TYPE_CHECKING:
    from ai102.issuer.audit import Origin
    from ai102.issuer.issuer import Issuer
    from ai102.issuer.rights import Rights
    from ai102.issuer.settings import Network, Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
user_app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(user_app, name="user", help="Manage users: add, role, attribute, password, disable, list.")

PolicyFile = Annotated[Path, typer.Option("--gateway", help="The gateway's policy file.", metavar="FILE")]
Home = Annotated[Path, typer.Option("--home", help="The folder with users, keys and audit log.", metavar="FOLDER")]
Name = Annotated[str, typer.Argument(help="The user's name.", metavar="USER")]
POLICY = Path("gateway.toml")
HOME = Path("build/auth")


@app.command()
def serve(
    listen: Annotated[str, typer.Option(help="HOST:PORT; default: services.issuer of the policy.")] = "",
    proxies: Annotated[
        str, typer.Option(help='Networks whose X-Forwarded-For is trusted, separated by commas; "": none.')
    ] = "127.0.0.0/8,::1/128",
    gateway: PolicyFile = POLICY,
    home: Home = HOME,
) -> None:
    """Issue tokens over HTTP, behind the gateway; Ctrl-C stops it."""
    from ai102.host.listen import url_of
    from ai102.issuer import serve as service
    from ai102.issuer.settings import Settings
    from ai102.masking.logs import uvicorn_log_config

    rights = _rights(gateway)
    address = listen or rights.gateway.services.issuer
    if not address:
        raise UserError(f"{gateway.name}: services.issuer is empty: write HOST:PORT there or give --listen")
    settings = Settings(proxies=_networks(proxies))
    listener = service.listening(address)
    issuer = _issuer(rights, home, settings)
    if not service.is_loopback(listener):
        typer.echo("warning: passwords are sent to this address unencrypted: only the gateway may reach it", err=True)

    def ready() -> None:
        typer.echo(f"ready: {url_of(listener)} issues as {rights.ours.issuer} (Ctrl-C stops it)")
        sys.stdout.flush()

    with issuer.database:
        service.server_for(issuer, ready, uvicorn_log_config(gateway.absolute().parent)).run([listener])


@app.command()
def token(
    name: Name,
    scope: Annotated[str, typer.Option(help="Only these roles, separated by spaces.")] = "",
    gateway: PolicyFile = POLICY,
    home: Home = HOME,
) -> None:
    """Print an access token for a script; it is valid for two hours."""
    with (issuer := _issuer(_rights(gateway), home)).database:
        typer.echo(issuer.token_for(name, scope, _me()))


@app.command()
def revoke(
    token: Annotated[str | None, typer.Option(help='An access or refresh token; "-": read it from stdin.')] = None,
    user: Annotated[str | None, typer.Option(help="All tokens and sessions of this user.")] = None,
    jti: Annotated[str | None, typer.Option(help="The id of an access token.")] = None,
    gateway: PolicyFile = POLICY,
    home: Home = HOME,
) -> None:
    """Revoke a token, or all tokens of a user; the gateway refuses them within seconds."""
    from ai102.issuer import revoke as revocation

    if sum(option is not None for option in (token, user, jti)) != 1:
        raise UserError("name what to revoke with one of --token, --user and --jti")
    with (issuer := _issuer(_rights(gateway), home)).database:
        if user is not None:
            session_count = revocation.end_user(issuer, user, _me())
            typer.echo(f"revoked all tokens of {user} and ended {session_count} sessions")
        elif jti is not None:
            revocation.end_jti(issuer, jti, _me())
            typer.echo(f"revoked {jti}")
        else:
            assert token is not None
            if not revocation.end_token(issuer, sys.stdin.readline().strip() if token == "-" else token, _me()):
                raise UserError(
                    "that is no token of this issuer, or it is expired or revoked already: nothing was revoked"
                )
            typer.echo("revoked")


@app.command("rotate-keys")
def rotate_keys(
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Invalidate all tokens of the old keys now.")] = False,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Sign with the new key before verifiers have fetched it.")
    ] = False,
    gateway: PolicyFile = POLICY,
    home: Home = HOME,
) -> None:
    """Create a signing key; the previous key verifies until its last token expires."""
    with (issuer := _issuer(_rights(gateway), home)).database:
        entry = issuer.keys.rotate(drop_old=drop_old, at_once=at_once)
        with issuer.database.change() as change:
            change.record("rotate keys", "", _me(), kid=entry.kid, dropped="yes" if drop_old else "no")
        wait_s = round(entry.signs_from_s - change.now_s)
    typer.echo(f"{entry.kid} signs {f'in {wait_s} s, once verifiers have fetched it' if wait_s > 0 else 'from now on'}")


@app.command()
def explain(
    name: Name,
    model: Annotated[str, typer.Argument(help="A model or ensemble.")],
    verb: Annotated[Literal["infer", "describe", "administer"], typer.Option(help="The action.")] = "infer",
    gateway: PolicyFile = POLICY,
    home: Home = HOME,
) -> None:
    """Explain why a user may use a model, or why not (exit 1 if not)."""
    from ai102.gateway import grants
    from ai102.issuer import users

    with (issuer := _issuer(_rights(gateway), home)).database, issuer.database.reading() as connection:
        user = users.needed(connection, name)
    if user.is_disabled:
        typer.echo(f"no: {name} is disabled; `ai102 auth user disable --undo {name}` enables the user")
        raise typer.Exit(1)
    decision = grants.explain(issuer.rights.gateway, name, user.roles, user.attributes, model, verb)
    typer.echo(decision)
    if not decision.allowed:
        raise typer.Exit(1)


@user_app.command("add")
def user_add(
    name: Name,
    role: Annotated[list[str] | None, typer.Option(help="A role of the policy; may be repeated.")] = None,
    attribute: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; may be repeated.")] = None,
    gateway: PolicyFile = POLICY,
    home: Home = HOME,
) -> None:
    """Add a user; the password is prompted for, or read from the first line of stdin."""
    from ai102.issuer import administer

    with (issuer := _issuer(_rights(gateway), home)).database:
        administer.add(issuer, name, _password(), role or [], _attributes(attribute or []), _me())
    typer.echo(f"added {name}: {', '.join(role or []) or 'no role yet'}")


@user_app.command("role")
def user_role(
    name: Name,
    roles: Annotated[list[str], typer.Argument(help="Roles of the policy.", metavar="ROLE...")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove the roles instead.")] = False,
    gateway: PolicyFile = POLICY,
    home: Home = HOME,
) -> None:
    """Add roles to a user, or remove them."""
    from ai102.issuer import administer

    with (issuer := _issuer(_rights(gateway), home)).database:
        (administer.take_roles if remove else administer.give_roles)(issuer, name, roles, _me())
    typer.echo(f"{'took from' if remove else 'gave'} {name}: {', '.join(roles)}")


@user_app.command("attribute")
def user_attribute(
    name: Name,
    pairs: Annotated[list[str], typer.Argument(help="KEY=VALUE; KEY= removes it.", metavar="KEY=VALUE...")],
    gateway: PolicyFile = POLICY,
    home: Home = HOME,
) -> None:
    """Set user attributes, which grants with a `user` condition compare."""
    from ai102.issuer import administer

    with (issuer := _issuer(_rights(gateway), home)).database:
        administer.describe(issuer, name, _attributes(pairs), _me())
    typer.echo(f"{name}: {', '.join(pairs)}")


@user_app.command("password")
def user_password(name: Name, gateway: PolicyFile = POLICY, home: Home = HOME) -> None:
    """Change a password, from a prompt or the first line of stdin; the user's tokens and sessions end."""
    from ai102.issuer import administer

    with (issuer := _issuer(_rights(gateway), home)).database:
        administer.set_password(issuer, name, _password(), _me())
    typer.echo(f"{name} has a new password")


@user_app.command("disable")
def user_disable(
    name: Name,
    undo: Annotated[bool, typer.Option("--undo", help="Let the user log in again.")] = False,
    gateway: PolicyFile = POLICY,
    home: Home = HOME,
) -> None:
    """Disable a user, including tokens that were issued already."""
    from ai102.issuer import administer

    with (issuer := _issuer(_rights(gateway), home)).database:
        administer.set_disabled(issuer, name, not undo, _me())
    typer.echo(f"{name} may log in again" if undo else f"{name} is disabled")


@user_app.command("list")
def user_list(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead of lines.")] = False,
    gateway: PolicyFile = POLICY,
    home: Home = HOME,
) -> None:
    """List the users with their roles and attributes."""
    from ai102.issuer import users

    with (issuer := _issuer(_rights(gateway), home)).database, issuer.database.reading() as connection:
        all_users = users.all_users(connection)
    rows = [
        {"name": user.name, "roles": user.roles, "attributes": user.attributes, "disabled": user.is_disabled}
        for user in all_users
    ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for user in all_users:
        words = [*user.roles, *(f"{key}={value}" for key, value in user.attributes.items())]
        typer.echo(f"{user.name}: {' '.join(words) or 'no role'}{' (disabled)' if user.is_disabled else ''}")


def _rights(gateway: Path) -> Rights:
    from ai102.issuer.rights import Rights

    return Rights(gateway, lambda line: typer.echo(line, err=True))


def _issuer(rights: Rights, home: Path, settings: Settings | None = None) -> Issuer:
    from ai102.issuer.issuer import Issuer
    from ai102.masking import Masker
    from ai102.masking.logs import masked

    masker = Masker.beside(rights.file.absolute().parent)
    return Issuer(home, rights, settings, mask=lambda line: masked(masker, line))


def _me() -> Origin:
    from ai102.issuer.audit import Origin

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        name = f"uid {os.getuid()}"
    return Origin("command line", who=f"{name} at the command line")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UserError("the two passwords differ: run it again")
    return password


def _attributes(pairs: list[str]) -> dict[str, str]:
    attributes = {}
    for pair in pairs:
        key, is_pair, value = pair.partition("=")
        if not is_pair:
            raise UserError(f'"{pair}" is no attribute: write KEY=VALUE, or KEY= to remove it')
        attributes[key] = value
    return attributes


def _networks(text: str) -> tuple[Network, ...]:
    from ipaddress import ip_network

    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as err:
        raise UserError(f"--proxies: {err}; write for example 127.0.0.0/8,10.0.0.0/8") from err
