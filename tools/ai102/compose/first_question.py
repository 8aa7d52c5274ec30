"""Ask the stack as a caller does: a user of its own, a token of the issuer, and the gateway over TLS."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ai102.client import Client, InferenceError, Tls, bytes_array
from ai102.compose.secrets import FOLDER
from ai102.compose.stack import Stack
from ai102.contract import Contract
from ai102.contract.answers import asked_from_contract
from ai102.errors import UserError
from ai102_runtime.health.samples import PNG

USER, ROLE = "compose", "caller"
TEXT = "Is anybody there?"
READY_TIMEOUT_S = 120.0


def token_for_compose(stack: Stack) -> str:
    """An access token of the user `compose`, who is added when missing, with a password that nobody keeps."""
    auth = ("issuer", "python3", "-m", "ai102", "auth")
    try:
        return stack.asked(*auth, "token", USER)
    except UserError:
        users = json.loads(stack.asked(*auth, "user", "list", "--json"))
        if USER in [user["name"] for user in users]:
            raise
    stack.asked(*auth, "user", "add", USER, "--role", ROLE, text=f"{secrets.token_urlsafe(24)}\n")
    return stack.asked(*auth, "token", USER)


def answers_when_ready(stack: Stack, contract: Contract, gateway: str) -> list[str]:
    """As first_answers, from a stack that was just started. UserError when it does not answer in READY_TIMEOUT_S."""
    ends = time.monotonic() + READY_TIMEOUT_S
    token = ""
    while True:
        try:
            token = token or token_for_compose(stack)
            return first_answers(stack.root, contract, token, gateway)
        except (UserError, InferenceError) as err:
            if time.monotonic() > ends:
                raise UserError(
                    f"the stack does not answer within {READY_TIMEOUT_S:g} s ({err}): `docker compose ps` and "
                    "`docker compose logs` say more"
                ) from err
            time.sleep(0.2)


def first_answers(root: Path, contract: Contract, token: str, gateway: str) -> list[str]:
    """A line for each pipeline that was asked through the gateway. Raises InferenceError when one does not answer."""
    asked = asked_from_contract(contract)
    tls = Tls(ca_file=root / FOLDER / "certs" / "ca.pem")
    lines = []
    with Client(f"grpcs://{gateway}", tls=tls, headers={"authorization": f"Bearer {token}"}) as client:
        for part, item in ((asked.classifier, PNG), (asked.embedder, TEXT.encode())):
            if part is not None:
                outputs = client.infer(part.model, {part.input: bytes_array([item])})
                lines.append(f"{part.model}: {', '.join(_shown(name, array) for name, array in outputs.items())}")
    return lines


def _shown(name: str, array: NDArray[Any]) -> str:
    """An output for people: a value, or the shape of many."""
    values = array.reshape(-1)
    if len(values) > 1:
        return f"{name} of {len(values)} numbers"
    value = values[0].decode() if isinstance(values[0], bytes) else values[0]
    return f"{name} {value}"
