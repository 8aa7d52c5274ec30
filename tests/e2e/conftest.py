"""Fixtures for tests that start a real tritonserver."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.servers import Server

# What a model folder holds, by path inside it: text, bytes, an ONNX model, or a file to link to.
Files = Mapping[str, str | bytes | onnx.ModelProto | Path]
StartServer = Callable[..., Server]


def write_repository(root: Path, models: Mapping[str, Files]) -> Path:
    """Write a model repository; a model without files becomes an empty folder."""
    for name, files in models.items():
        (root / name).mkdir(parents=True)
        for place, content in files.items():
            path = root / name / place
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.write_text(content, encoding="utf-8")
            elif isinstance(content, Path):
                path.symlink_to(content)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return root


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start a server over the models given, on free ports; it stops after the module's last test."""
    with ExitStack() as servers:

        def start(models: Mapping[str, Files], **options: Any) -> Server:
            folder = tmp_path_factory.mktemp("server")
            repository = write_repository(folder / "repository", models)
            options = {"http_port": 0, "grpc_port": 0, "metrics_port": 0, "log": folder / "log"} | options
            return servers.enter_context(Server(repository, **options))

        yield start
