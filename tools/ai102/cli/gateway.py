"""Subcommands of `ai102 gateway`, the proxy in front of Triton: render, certs, run, reload, drain, undrain, status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Policy = Annotated[Path, typer.Option("--policy", help="The policy file; its folder holds build/gateway.")]
POLICY = Path("gateway.toml")
Proxy = Annotated[Literal["haproxy", "nginx"], typer.Option(help="The proxy.")]
Replica = Annotated[str, typer.Argument(help="A replica of gateway.toml.")]


@app.command()
def render(proxy: Proxy = "haproxy", policy: Policy = POLICY) -> None:
    """Write a proxy's whole configuration from gateway.toml to build/gateway/PROXY."""
    from ai102.gateway import running
    from ai102.gateway.policy import load

    gateway, home = load(policy), policy.absolute().parent
    for path in running.render(gateway, home, proxy):
        typer.echo(path.relative_to(home))


@app.command()
def certs(
    name: Annotated[
        list[str] | None, typer.Option(help="Another host name or address of the gateway; repeatable.")
    ] = None,
    client: Annotated[str, typer.Option(help="The name in the client's certificate, for mutual TLS.")] = "client",
    force: Annotated[
        bool, typer.Option("--force", help="Replace existing files; clients then need the new CA.")
    ] = False,
    policy: Policy = POLICY,
) -> None:
    """Create a test CA, a server certificate for the gateway and a client certificate in build/gateway/certs."""
    from ai102.gateway import certs as certificates

    folder = policy.absolute().parent / "build" / "gateway" / "certs"
    for certificate in certificates.make(folder, name or (), client=client, force=force):
        verb = "wrote" if certificate.is_new else "kept"
        expires = f"{certificate.expires:%Y-%m-%d}"
        typer.echo(f"{verb} {certificate.path} for {', '.join(certificate.names)}, until {expires}")


@app.command()
def run(proxy: Proxy = "haproxy", policy: Policy = POLICY) -> None:
    """Render and check the configuration, start the proxy and restart it if it fails; Ctrl-C stops it."""
    from ai102.gateway import watch
    from ai102.gateway.policy import load

    watch.run(load(policy), policy.absolute().parent, proxy, lambda line: typer.echo(line, err=True))


@app.command()
def reload(policy: Policy = POLICY) -> None:
    """Apply gateway.toml to the running gateway without losing a request."""
    from ai102.gateway import running
    from ai102.gateway.policy import load

    home = policy.absolute().parent
    proxy = running.running_proxy(home)
    running.reload(load(policy), home, proxy)
    typer.echo(f"{proxy} runs with {policy}")


@app.command()
def drain(
    replica: Replica,
    wait: Annotated[float, typer.Option(help="Seconds to wait for its last request.", min=0)] = 30.0,
    policy: Policy = POLICY,
) -> None:
    """Stop sending new requests to a replica, and wait until it has none: then it can be stopped."""
    from ai102.gateway import running, watch
    from ai102.gateway.policy import load

    home = policy.absolute().parent
    watch.drain(load(policy), home, running.running_proxy(home), replica, wait)
    typer.echo(f"replica {replica} has no requests and gets none")


@app.command()
def undrain(replica: Replica, policy: Policy = POLICY) -> None:
    """Send requests to a drained replica again."""
    from ai102.gateway import running
    from ai102.gateway.policy import load

    home = policy.absolute().parent
    running.PROXIES[running.running_proxy(home)].undrain(load(policy), home, replica)
    typer.echo(f"replica {replica} gets requests again")


@app.command()
def status(policy: Policy = POLICY) -> None:
    """Print the replicas' state as the running gateway sees them (exit 1 if one is down, or there is none)."""
    from rich.console import Console
    from rich.table import Table

    from ai102.gateway import running
    from ai102.gateway.policy import load

    home = policy.absolute().parent
    proxy = running.running_proxy(home)
    states = running.PROXIES[proxy].states(load(policy), home)
    table = Table("replica", "health", "gets requests", "requests now", box=None)
    for state in states:
        gets = "no: drained" if state.is_drained else "yes" if state.is_up else "no: down"
        table.add_row(state.name, "up" if state.is_up else "down", gets, str(state.busy))
    Console(highlight=False).print(table)
    if not states:
        typer.echo("DNS tells no replica")
    if not states or not all(state.is_up for state in states):
        raise typer.Exit(1)
