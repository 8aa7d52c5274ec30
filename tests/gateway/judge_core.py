"""The gateway's Lua core, called in a real interpreter: Lua 5.3 as HAProxy has it, Lua 5.1 as nginx does."""

import atexit
import functools
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ai102.gateway

JUDGE = Path(ai102.gateway.__file__).parent / "judge"
DRIVER = Path(__file__).with_name("judge_driver.lua")
NOW = 1_800_000_000
SERVICE = "/inference.GRPCInferenceService/"


def _reason(lua: str) -> str:
    if shutil.which(lua) is None:
        return f"{lua} is missing: apt-get install {lua} lua-cjson lua-luaossl"
    probe = "require('cjson'); require('openssl.pkey')"
    done = subprocess.run([lua, "-e", probe], capture_output=True, check=False)
    return "" if done.returncode == 0 else "Lua's modules are missing: apt-get install lua-cjson lua-luaossl"


def luas() -> Iterator[Any]:
    for lua in ("lua5.3", "lua5.1"):
        reason = _reason(lua)
        yield pytest.param(lua, marks=pytest.mark.skipif(bool(reason), reason=reason))


in_both_luas = pytest.mark.parametrize("lua", list(luas()))


class Core:
    """One interpreter; `ask` calls a function of the gateway and gives its answer, or the refusal's name."""

    def __init__(self, lua: str) -> None:
        self._process = subprocess.Popen([lua, DRIVER, JUDGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self._end)
        self.reason = ""

    def ask(self, name: str, *arguments: Any) -> Any:
        """What the function gave: a value, None for nothing to object to, or the name of the refusal."""
        assert self._process.stdin
        assert self._process.stdout
        row = {str(place): _sent(argument) for place, argument in enumerate((name, *arguments), 1)}
        # A JSON object: in a Lua array a null in the middle would be lost.
        line = json.dumps({"n": len(row)} | row)
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        refusal = answer.get("refusal")
        self.reason = refusal["reason"] if refusal else ""
        return refusal["name"] if refusal else answer.get("value")

    def _end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(5)


def _sent(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list):
        return [_sent(one) for one in value]
    return value


@functools.cache
def core(lua: str) -> Core:
    """The one interpreter of its kind; it ends with the tests."""
    return Core(lua)
