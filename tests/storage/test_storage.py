"""Models of an object store: requests signed as Amazon's own example, whole prefixes copied, refusals in one line."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from ai102_runtime.storage import bucket, command
from ai102_runtime.storage.signature import Credentials, headers_of, path_of, query_of

KEYS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
FILES = {"digits/config.pbtxt": b"a", "digits/1/model.onnx": b"b" * 70_000, "strange name+&=ü/1/x": b"", "e/": b""}
PAGE = 2


class Store(ThreadingHTTPServer):
    """A stand-in for a store: pages of two keys, 503 once for each of `slow`, and AccessDenied for others."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {f"0.2.0/{name}": content for name, content in files.items()} | {"0.3.0/digits/x": b"other"}
        self.slow: set[str] = set()
        self.sizes: dict[str, int] = {}

    @property
    def environment(self) -> dict[str, str]:
        return {command.ENDPOINT: f"http://127.0.0.1:{self.server_port}/"}


class Handler(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        bucket_name, _, key = unquote(url.path).lstrip("/").partition("/")
        if f"Credential={KEYS[0]}/" not in self.headers["Authorization"] or bucket_name != "models":
            return self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        if key in self.server.slow:
            self.server.slow.remove(key)
            return self.answer(503, b"busy")
        return self.answer(200, self.server.files[key] if key else self.page(parse_qs(url.query)))

    def page(self, query: dict[str, list[str]]) -> bytes:
        keys = sorted(name for name in self.server.files if name.startswith(query["prefix"][0]))
        start = int(query.get("continuation-token", ["0"])[0])
        rows = "".join(
            f"<Contents><Key>{name.replace('&', '&amp;')}</Key>"
            f"<Size>{self.server.sizes.get(name, len(self.server.files[name]))}</Size></Contents>"
            for name in keys[start : start + PAGE]
        )
        more = f"<NextContinuationToken>{start + PAGE}</NextContinuationToken>" if len(keys) > start + PAGE else ""
        return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{rows}{more}</ListBucketResult>'.encode()

    def answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(bucket, "WAIT_S", 0.01)
    with Store(FILES) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def environment(store: Store, tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "keys"
    folder.mkdir()
    for name, word in zip(("access-key-id", "secret-access-key"), KEYS, strict=True):
        (folder / name).write_text(f"{word}\n")
    return store.environment | {command.KEYS: str(folder)}


def test_a_request_is_signed_as_in_amazons_example() -> None:
    now = datetime(2013, 5, 24, tzinfo=UTC)
    query = query_of({"prefix": "J", "max-keys": "2"})
    headers = headers_of("GET", "examplebucket.s3.amazonaws.com", "/", query, Credentials(*KEYS, "us-east-1"), now)
    assert query == "max-keys=2&prefix=J"
    assert headers["authorization"].endswith(
        "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    )


def test_names_are_written_as_a_signature_wants_them() -> None:
    assert path_of("models", "a b/c+d=e~f") == "/models/a%20b/c%2Bd%3De~f"
    assert query_of({"b": "x y", "a": "/"}) == "a=%2F&b=x%20y"


def test_everything_below_a_prefix_is_copied_and_nothing_else(
    store: Store, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.slow = {"0.2.0/digits/config.pbtxt", ""}
    assert command.main(["copy", "s3://models/0.2.0", str(tmp_path / "copy")], environment) == 0
    files = [file for file in (tmp_path / "copy").rglob("*") if file.is_file()]
    copied = {str(file.relative_to(tmp_path / "copy")): file.read_bytes() for file in files}
    assert copied == {name: content for name, content in FILES.items() if not name.endswith("/")}
    assert capsys.readouterr().out == "s3://models/0.2.0: 3 objects, 0 MiB\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["copy", "s3://models/0.1.0", "X"], "s3://models/0.1.0: there is no object below it"),
        (["copy", "s3://others/0.2.0", "X"], "others/0.2.0/: the store refuses it: HTTP 403 AccessDenied"),
        (["copy", "/models", "X"], "/models: is no place in a store; write s3://BUCKET/PREFIX"),
        (["move"], "usage: python3 -m ai102_runtime.storage copy s3://BUCKET/PREFIX FOLDER"),
    ],
)
def test_what_cannot_be_copied_is_one_line_and_exit_2(
    words: list[str], line: str, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("X", str(tmp_path / "copy")) for word in words]
    assert command.main(words, environment) == 2
    assert capsys.readouterr().err == f"{line}\n"


def test_a_key_that_leads_elsewhere_writes_nothing(
    store: Store, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.files["0.2.0/../../evil"] = b"x"
    assert command.main(["copy", "s3://models/0.2.0", str(tmp_path / "copy")], environment) == 2
    assert capsys.readouterr().err.startswith("../../evil: an object of that name would be written elsewhere")
    assert not (tmp_path / "copy").exists()


def test_an_object_that_was_replaced_meanwhile_fails(
    store: Store, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.sizes["0.2.0/digits/1/model.onnx"] = 3
    assert command.main(["copy", "s3://models/0.2.0", str(tmp_path / "copy")], environment) == 2
    assert "has 70000 bytes, but 3 in the list" in capsys.readouterr().err


def test_a_store_that_is_away_is_asked_again_and_then_named(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = environment | {command.ENDPOINT: "http://127.0.0.1:9"}
    assert command.main(["copy", "s3://models/0.2.0", str(tmp_path / "copy")], away) == 2
    assert "the store does not answer: " in (said := capsys.readouterr().err)
    assert said.endswith(f", {bucket.TRIES} times\n")
