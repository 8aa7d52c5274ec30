"""state.json: what changes while the gateway runs (keys, grants of roles, names of journals), kept up to date."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ai102.contract import Contract
from ai102.contract.answers import asked_from_contract
from ai102.errors import UserError
from ai102.gateway.feed.issuers import Known, Watch, known_from_state
from ai102.gateway.grants import role_grants
from ai102.gateway.policy import Gateway, Issuer
from ai102.gateway.revocations import FOLDER, Journal

VERSION = 2
# How often the file is looked after; and how often it is written even if nothing changed, so that its age tells
# whether somebody still does.
LOOK_EVERY_S = 1.0
WRITE_EVERY_S = 10.0
JOIN_S = 0.5

Log = Callable[[str], None]


def state_from(gateway: Gateway, contract: Contract, known: Mapping[str, Known], now_s: float) -> dict[str, Any]:
    """What state.json holds. `known`: by issuer, what it published last; one that is not known yet has no keys."""
    issuers = {}
    for issuer in gateway.issuers:
        facts = known.get(issuer.issuer, Known())
        # Keys without the revocations that go with them would let revoked tokens in.
        complete = facts.keys is not None and (facts.revoked is not None or not issuer.revoked)
        issuers[issuer.issuer] = {
            "audience": issuer.audience,
            "roles_claim": issuer.roles_claim,
            "roles": issuer.roles,
            "is_ours": bool(issuer.revoked),
            "jwks": issuer.jwks,
            "keys": facts.keys if complete else {},
            "revoked": (facts.revoked if complete else None) or "",
            "fetched": facts.fetched_s if complete else 0,
        }
    return {
        "version": VERSION,
        "written": now_s,
        "issuers": issuers,
        "role_grants": role_grants(gateway),
        "routes": _routes(contract),
        "classes": _classes(contract),
    }


def sync(
    gateway: Gateway,
    contract: Contract,
    path: Path,
    *,
    stop: threading.Event,
    log: Log,
    fetch_now: threading.Event | None = None,
) -> None:
    """Keep `path` up to date until `stop` is set; `fetch_now` fetches every issuer's keys at once.

    What `path` held before stays in force until an issuer answers. A full disk is reported and tried again.
    A defect of ours sets `stop` and raises: a gateway that no longer hears of revocations must not stay open unnoticed.
    """
    before = _read(path)
    watches = [_watch(issuer, before, path.parent / FOLDER, log) for issuer in gateway.issuers]
    threads = [threading.Thread(target=watch.run, args=(stop,), daemon=True) for watch in watches]
    for thread in threads:
        thread.start()
    written: dict[str, Any] = {}
    problem = ""
    while True:
        for watch in watches:
            if watch.defect is not None:
                stop.set()
                raise watch.defect
        if fetch_now is not None and fetch_now.is_set():
            fetch_now.clear()
            for watch in watches:
                watch.fetch_soon()
        state = state_from(gateway, contract, {watch.issuer.issuer: watch.known for watch in watches}, time.time())
        if _differs(state, written):
            try:
                write_state(path, state)
                written, problem = state, ""
            except OSError as err:
                if str(err) != problem:
                    log(f"{path}: not written: {err}; what it held stays in force")
                problem = str(err)
        if stop.wait(LOOK_EVERY_S):
            break
    # Not longer: one that waits for its issuer writes nothing any more, and a new policy must not wait for it.
    ends = time.monotonic() + JOIN_S
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))


def _watch(issuer: Issuer, before: Mapping[str, Any], folder: Path, log: Log) -> Watch:
    journal = Journal(folder, issuer) if issuer.revoked else None
    return Watch(issuer, known_from_state(before, issuer, journal), log, journal)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Whole or not at all. It holds no secret, and the proxy, which may run as another user, must read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(state, file, allow_nan=False)
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _read(path: Path) -> Mapping[str, Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) and state.get("version") == VERSION else {}


def _differs(state: Mapping[str, Any], written: Mapping[str, Any]) -> bool:
    if not written or not 0 <= state["written"] - written["written"] < WRITE_EVERY_S:
        return True
    return _lasting(state) != _lasting(written)


def _lasting(state: Mapping[str, Any]) -> dict[str, Any]:
    """Without the times at which nothing but time changed."""
    issuers = {name: {**row, "fetched": 0} for name, row in state["issuers"].items()}
    return {**state, "written": 0, "issuers": issuers}


def _classes(contract: Contract) -> dict[str, list[str]]:
    """By model, the outputs that Triton can sort into classes: scores that are never empty.

    tritonserver 2.51 dies when asked for the classes of strings, or of an output with nothing in it.
    """
    classes = {
        model.name: [tensor.name for tensor in model.outputs if tensor.type == "FP32" and min(tensor.dims) > 0]
        for model in contract.served_models
        if all(tensor.dims for tensor in model.outputs)
    }
    return {name: outputs for name, outputs in classes.items() if outputs}


def _routes(contract: Contract) -> dict[str, str]:
    """The friendly API's addresses, and the model that each wants the right to infer with."""
    try:
        asked = asked_from_contract(contract)
    except UserError:
        return {}  # no model that the API could ask, so no address of it
    routes = {"/v1/classify": asked.classifier, "/v1/embed": asked.embedder}
    return {route: part.model for route, part in routes.items() if part is not None}
