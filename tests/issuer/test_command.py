"""`ai102 auth` as a person or a script runs it: processes in a new folder, a server killed in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import jwt
import pytest

from tests.cli.here import ai102

from .conftest import PASSWORD, POLICY, log_in, refresh

pytestmark = [pytest.mark.e2e, pytest.mark.long]

COMMAND = [sys.executable, "-m", "ai102", "auth"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gateway.toml").write_text(POLICY, encoding="utf-8")
    return tmp_path


def auth(folder: Path, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def claims(token: str) -> dict[str, object]:
    found: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return found


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A server process of the command, and a client of it."""
    with subprocess.Popen(
        [*COMMAND, "serve", "--listen", "127.0.0.1:0"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    ) as process:  # fmt: skip
        alarm = threading.Timer(60, process.kill)
        alarm.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ready: http://127.0.0.1:"), line
            with httpx.Client(base_url=line.split()[1], timeout=30, trust_env=False) as client:
                yield process, client
        finally:
            alarm.cancel()
            process.terminate()


def test_the_road_of_a_user_from_adding_to_disabling(folder: Path) -> None:
    steps = [
        (["user", "add", "alice", "--role", "caller"], f"{PASSWORD}\n", "added alice: caller"),
        (["user", "role", "alice", "viewer"], "", "gave alice: viewer"),
        (["user", "role", "alice", "viewer", "--remove"], "", "took from alice: viewer"),
        (["user", "attribute", "alice", "department=radiology", "floor=2"], "", "alice: department=radiology, floor=2"),
        (["user", "attribute", "alice", "floor="], "", "alice: floor="),
        (["user", "password", "alice"], "another long phrase\n", "alice has a new password"),
        (["user", "list"], "", "alice: caller department=radiology"),
        (["user", "disable", "alice"], "", "alice is disabled"),
        (["user", "list"], "", "alice: caller department=radiology (disabled)"),
        (["user", "disable", "alice", "--undo"], "", "alice may log in again"),
        (["revoke", "--user", "alice"], "", "revoked all tokens of alice and ended 0 sessions"),
    ]
    assert [auth(folder, *arguments, stdin=stdin) for arguments, stdin, _ in steps] == [
        (0, said, "") for *_, said in steps
    ]


def test_a_token_stands_alone_on_stdout_and_can_be_ended(folder: Path) -> None:
    auth(folder, "user", "add", "alice", "--role", "caller", stdin=PASSWORD)
    status, token, _ = auth(folder, "token", "alice", "--scope", "viewer")
    assert (status, claims(token)["roles"]) == (0, ["viewer"])
    by_pipe = auth(folder, "revoke", "--token", "-", stdin=token + "\n")
    by_id = auth(folder, "revoke", "--jti", "abc")
    assert (by_pipe, by_id) == ((0, "revoked", ""), (0, "revoked abc", ""))
    # No file but the password's hash and the keys is secret, yet none may be read by others.
    home = folder / "build" / "auth"
    modes = {oct(path.stat().st_mode & 0o777) for path in home.rglob("*") if path.is_file()}
    assert (modes, oct(home.stat().st_mode & 0o777)) == ({"0o600"}, "0o700")


def test_explain_says_why_and_its_status_says_whether(folder: Path) -> None:
    auth(folder, "user", "add", "alice", "--role", "caller", stdin=PASSWORD)
    asked = [["classify_image"], ["xray"], ["classify_image", "--verb", "administer"]]
    found = [auth(folder, "explain", "alice", *one) for one in asked]
    assert [(status, said.split("\n")[0]) for status, said, _ in found] == [
        (0, "yes: alice may infer classify_image"),
        (1, "no: alice may not infer xray"),
        (1, "no: alice may not administer classify_image"),
    ]
    assert 'wants department "radiology": the user has none' in found[1][1]


# What is typed after `ai102 auth`, what stdin holds, and how the one line begins.
MISTAKES: list[tuple[list[str], str, str]] = [
    (["user", "add", "bob"], "short", "the password has 5 characters; choose at least 12"),
    (["user", "add", "bob"], "", "the password has 0 characters; choose at least 12"),
    (["user", "add", "bob"], "x" * 1025, "the password has 1025 characters; choose at most 1024"),
    (["user", "add", "bob"], "aaaaaaaaaaaaaaa", "the password has fewer than 5 different characters"),
    (["user", "add", "bob"], "my name is BOB, hello", "the password has the user's name in it"),
    (["user", "add", "Bob"], PASSWORD, '"Bob" is no user name: write 2 to 64 of a-z'),
    (["user", "add", "b/../ob"], PASSWORD, '"b/../ob" is no user name'),
    (["user", "add", "alice"], PASSWORD, 'there is a user "alice" already'),
    (["user", "add", "bob", "--role", "king"], PASSWORD, '"king" is no role of gateway.toml; the roles are'),
    (["user", "add", "bob", "--attribute", "x"], PASSWORD, '"x" is no attribute: write KEY=VALUE'),
    (["user", "role", "alice", "operator", "--remove"], "", '"alice" does not have the role "operator"'),
    (["user", "role", "bob", "caller"], "", 'there is no user "bob"'),
    (["token", "bob"], "", 'there is no user "bob"'),
    (["token", "alice", "--scope", "operator"], "", '"alice" does not have all of the roles "operator"'),
    (["revoke"], "", "name what to revoke with one of --token, --user and --jti"),
    (["revoke", "--token", "x", "--user", "alice"], "", "name what to revoke with one of"),
    (["revoke", "--token", "x"], "", "that is no token of this issuer"),
    (["revoke", "--jti", "a b"], "", '"a b" is no token id'),
    (["explain", "bob", "digits"], "", 'there is no user "bob"'),
    (["user", "list", "--home", "gateway.toml"], "", "gateway.toml: is a file: name a folder with --home"),
    (["user", "list", "--home", "open"], "", "open: its mode is 0755, so others may read or write it"),
    (["user", "list", "--gateway", "none.toml"], "", "none.toml: no such file"),
    (["serve", "--listen", "127.0.0.1"], "", '--listen: "127.0.0.1" is no address: write HOST:PORT'),
    (["serve", "--listen", "192.0.2.1:80"], "", "--listen: cannot listen on 192.0.2.1:80 (Cannot assign"),
    (["serve", "--listen", "127.0.0.1:0", "--proxies", "x"], "", "--proxies: 'x' does not appear to be"),
]  # fmt: skip


def test_a_mistake_is_one_line_and_exit_2(folder: Path) -> None:
    auth(folder, "user", "add", "alice", "--role", "caller", stdin=PASSWORD)
    (folder / "open").mkdir(mode=0o755)
    found, wanted = [], []
    for arguments, stdin, line in MISTAKES:
        status, out, err = ai102("auth", *arguments, cwd=folder, stdin=stdin)
        found.append((arguments, status, out, err[: len(f"ai102: {line}")], err.count("\n")))
        wanted.append((arguments, 2, "", f"ai102: {line}", 1))
    assert found == wanted


def test_a_password_is_asked_for_twice_at_a_terminal_and_not_shown(folder: Path) -> None:
    def typed(*lines: str) -> tuple[int, str]:
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(folder)
            os.execv(COMMAND[0], [*COMMAND, "user", "add", "alice"])
        alarm = threading.Timer(60, os.kill, [pid, signal.SIGKILL])
        alarm.start()
        said = b""
        with contextlib.suppress(OSError):  # the terminal's end, on Linux
            for number, line in enumerate([*lines, None]):
                # Typed ahead of its prompt, it would be dropped when the echo is turned off.
                while line is None or said.count(b": ") <= number:
                    if not (part := os.read(terminal, 4096)):
                        break
                    said += part
                if line is not None:
                    os.write(terminal, line.encode() + b"\n")
        alarm.cancel()
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()

    differ, same = typed(PASSWORD, PASSWORD + "!"), typed(PASSWORD, PASSWORD)
    assert (differ[0], "the two passwords differ" in differ[1], same[0]) == (2, True, 0)
    assert PASSWORD not in differ[1] + same[1]


def test_a_running_server_sees_what_the_command_does(folder: Path) -> None:
    auth(folder, "user", "add", "alice", "--role", "caller", stdin=PASSWORD)
    with served(folder) as (process, client):

        def me(token: str) -> int:
            return client.get("/auth/me", headers={"Authorization": f"Bearer {token}"}).status_code

        script = auth(folder, "token", "alice")[1]
        login = log_in(client).json()
        seen = [me(script), me(login["access_token"])]
        auth(folder, "revoke", "--token", script)
        seen += [me(script), me(login["access_token"])]
        auth(folder, "revoke", "--user", "alice")
        seen += [me(login["access_token"]), refresh(client, login["refresh_token"]).status_code]
        auth(folder, "user", "add", "bob", stdin=PASSWORD)
        seen += [log_in(client, "bob").status_code, log_in(client).status_code]
        kid = auth(folder, "rotate-keys", "--drop-old")[1].split()[0]
        seen += [jwt.get_unverified_header(log_in(client).json()["access_token"])["kid"] == kid]
        listed = client.get("/auth/revoked").json()
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
    assert seen == [200, 200, 401, 200, 401, 400, 200, 200, True]
    assert [row[:2] for row in listed["revoked"]] == [["sid", claims(script)["sid"]], ["sub", "alice"]]


def until(is_so: Callable[[], bool], deadline_s: float = 30) -> None:
    end = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end, "it did not come to pass in time"


def hammer(url: httpx.URL, seen: list[int]) -> None:
    """Log in, refresh and guess until the server is gone."""
    with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=url, timeout=30, trust_env=False) as mine:
        token = log_in(mine).json()["refresh_token"]
        while True:
            token = refresh(mine, token).json().get("refresh_token", token)  # none when it comes too often
            seen.append(log_in(mine, "bob", "wrong").status_code)


def test_killed_in_the_middle_it_keeps_its_users_its_lockouts_and_a_whole_database(folder: Path) -> None:
    for name in ("alice", "bob"):
        auth(folder, "user", "add", name, "--role", "caller", stdin=PASSWORD)
    seen: list[int] = []
    for number in (1, 2):
        with served(folder) as (process, client):
            threads = [threading.Thread(target=hammer, args=[client.base_url, seen]) for _ in range(4)]
            for thread in threads:
                thread.start()
            until(partial(reaches, seen, 40 * number))
            process.kill()
            for thread in threads:
                thread.join()
    with contextlib.closing(sqlite3.connect(folder / "build/auth/users.db")) as connection:
        state = [connection.execute(f"PRAGMA {check}_check").fetchall() for check in ("integrity", "foreign_key")]
    with served(folder) as (_, client):
        # The lock itself may be over by now; the failures before it are kept, so that one more locks again.
        log_in(client, "bob", "wrong")
        statuses = (log_in(client, "bob").status_code, log_in(client).status_code)
    assert (state, statuses) == ([[("ok",)], []], (429, 200))


def reaches(seen: list[int], length: int) -> bool:
    return len(seen) >= length


def test_commands_beside_a_server_under_load_all_succeed(folder: Path) -> None:
    auth(folder, "user", "add", "alice", "--role", "caller", stdin=PASSWORD)
    with served(folder) as (_, client):
        is_over = threading.Event()
        statuses: list[int] = []

        def ask() -> None:
            with httpx.Client(base_url=client.base_url, timeout=30, trust_env=False) as mine:
                while not is_over.is_set():
                    statuses.append(log_in(mine).status_code)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        found = [auth(folder, "user", "add", f"user{number}", stdin=PASSWORD)[0] for number in range(4)]
        is_over.set()
        for thread in threads:
            thread.join()
    names = json.loads(auth(folder, "user", "list", "--json")[1])
    assert (found, len(names)) == ([0] * 4, 5)
    assert 200 in statuses
    assert set(statuses) <= {200, 429}  # more than one user may have in a minute
