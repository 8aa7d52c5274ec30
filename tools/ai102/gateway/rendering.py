"""What the configurations of both proxies have in common: templates, the Lua beside them, what that Lua reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from ai102.errors import UserError
from ai102.gateway.policy import Gateway

HERE = Path(__file__).parent
STATE = Path("build/gateway/state.json")
# Often not on a user's own PATH.
MORE_PLACES = "/usr/sbin:/usr/local/sbin"
MODULES = {"lua-cjson": "cjson.so", "lua-luaossl": "_openssl.so"}


def rendered(template: str, filters: Mapping[str, Callable[[str], str]], **values: Any) -> str:
    """The template of a proxy, filled in; a value it wants and does not get is a defect."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([HERE / "haproxy", HERE / "nginx"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= filters
    return environment.get_template(template).render(**values)


def lua_of(proxy: str, folder: Path) -> dict[Path, str]:
    """The gateway's decisions and the proxy's own glue, by where they go in `folder`."""
    files = sorted([*(HERE / proxy).glob("*.lua"), *(HERE / "judge").glob("*.lua")])
    return {folder / "lua" / file.name: file.read_text(encoding="utf-8") for file in files}


def services_of(gateway: Gateway) -> dict[str, str]:
    """HOST:PORT of each of our own services behind the gateway."""
    named = {"api": gateway.services.api, "issuer": gateway.services.issuer}
    return {name: place for name, place in named.items() if place}


def places_of(gateway: Gateway, home: Path) -> dict[str, str]:
    """The files that a proxy's Lua reads while it runs."""
    return {
        "state_file": str((home / STATE).absolute()),
        "secret_file": str((home / gateway.triton.secret_file).absolute()),
    }


def program_at(name: str, packages: str) -> str:
    """The proxy's path; UserError names the packages to install."""
    program = shutil.which(name) or shutil.which(name, path=MORE_PLACES)
    if program is None:
        raise UserError(f"{name} is not installed: apt-get install {packages}")
    return program


def check_lua(version: str) -> None:
    """UserError names the packages that the gateway's Lua lacks; `version` is a pattern of the folder, such as 5.1."""
    missing = [
        package for package, place in MODULES.items() if not any(Path("/usr/lib").glob(f"*/lua/{version}/{place}"))
    ]
    if missing:
        raise UserError(f"the gateway's Lua needs {' and '.join(missing)}: apt-get install {' '.join(missing)}")
