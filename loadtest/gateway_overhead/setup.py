"""The set-up of the measurement: cores, a repository with an echo model, a policy, its state and a token."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ai102 import contract
from ai102.gateway import certs
from ai102.gateway.feed.issuers import Known
from ai102.gateway.feed.state import state_from, write_state
from ai102.gateway.policy import Gateway
from ai102.serve.addresses import chosen_ports
from ai102.serve.server import Server

ROOT = Path(__file__).parents[2]
ISSUER, AUDIENCE = "https://ai102.example", "ai102"
INFER = {"verbs": ["infer"], "models": ["*"]}
ECHO_MODEL = '''
"""Returns its input."""
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        tensors = [pb_utils.get_input_tensor_by_name(request, "IN") for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", tensor.as_numpy())]) for tensor in tensors]
'''
ECHO_CONFIG = """
backend: "python"
max_batch_size: 0
input { name: "IN" data_type: TYPE_UINT8 dims: -1 }
output { name: "OUT" data_type: TYPE_UINT8 dims: -1 }
"""


def run_on(cores: set[int]) -> None:
    """Pin all threads of this process, and the processes that they start, to `cores`."""
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def repository_at(folder: Path) -> Path:
    """A copy of the model repository with the echo model added."""
    shutil.copytree(ROOT / "model_repository", folder, symlinks=True, copy_function=os.link)
    (folder / "echo" / "1").mkdir(parents=True)
    (folder / "echo" / "config.pbtxt").write_text(ECHO_CONFIG, encoding="utf-8")
    (folder / "echo" / "1" / "model.py").write_text(ECHO_MODEL, encoding="utf-8")
    return folder


def prepared(home: Path, server: Server, traces: Mapping[str, Any] | None = None) -> tuple[Gateway, str]:
    """A gateway policy for `server`, with the gateway's files in `home`, and a token that it accepts."""
    names = ("rest", "grpc", "status", "metrics")
    ports = chosen_ports("127.0.0.1", dict.fromkeys(names, 0))
    gateway = Gateway.model_validate(
        {
            "listen": {name: f"127.0.0.1:{port}" for name, port in ports.items()},
            "triton": {"replicas": [{"name": "a", "http": server.http_url, "grpc": server.grpc_url}]},
            "issuers": [{"issuer": ISSUER, "audience": AUDIENCE, "jwks": "http://127.0.0.1:9/jwks"}],
            "limits": {"requests_per_10s": 10_000_000},
            "traces": traces or {},
            "roles": {"caller": {}},
            "grants": [INFER | {"role": "caller"}],
        }
    )
    certs.make(home / "build" / "gateway" / "certs")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    now = int(time.time())
    known = {ISSUER: Known(keys={"speed": {"alg": "RS256", "pem": pem}}, fetched_s=now)}
    state = state_from(gateway, contract.load(ROOT / "models.toml"), known, now)
    write_state(home / "build" / "gateway" / "state.json", state)
    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "speed", "iat": now, "nbf": now, "exp": now + 7200,
        "jti": secrets.token_hex(16), "sid": secrets.token_hex(16), "roles": ["caller"],
    }  # fmt: skip
    return gateway, jwt.encode(claims, key, algorithm="RS256", headers={"typ": "at+jwt", "kid": "speed"})
