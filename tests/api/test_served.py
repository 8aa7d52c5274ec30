"""The API before a real Triton: right labels, bad images, many callers, an orderly end."""

import contextlib
import json
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from ai102.client import Client
from tests.api.served import COMMAND, ROOT, Served, digit, served
from tests.servers import Server

pytestmark = pytest.mark.e2e


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(edge: int) -> bytes:
    """A PNG that says it is `edge` wide and high, of black rows that weigh almost nothing."""
    header = struct.pack(">IIBBBBB", edge, edge, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.01)


@pytest.fixture
def http(real: Served) -> httpx.Client:
    return httpx.Client(base_url=real.url, trust_env=False, timeout=30)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("top", [1, 10])
def test_images_get_their_labels(http: httpx.Client, kind: str, top: int) -> None:
    images = [digit(number, kind) for number in range(32)]
    files = [("images", (f"{number}", data)) for number, (data, _) in enumerate(images)]
    predictions = http.post("/v1/classify", params={"top": top}, files=files).json()["predictions"]
    right = sum(found["label"] == label for found, (_, label) in zip(predictions, images, strict=True))
    assert right >= 31
    assert [found["filename"] for found in predictions] == [str(number) for number in range(32)]
    for found in predictions:
        assert len(found["top"]) == top
        assert found["top"][0] == {"label": found["label"], "score": found["score"]}
        assert sum(one["score"] for one in found["top"]) <= 1.0001


def test_embeddings_are_those_of_the_model(http: httpx.Client, triton: Server) -> None:
    texts = ["The train leaves at nine.", "Um neun fährt der Zug \U0001f682", "word " * 2000]
    answer = http.post("/v1/embed", json={"texts": texts}).json()
    with Client(f"grpc://{triton.grpc_url}") as client:
        assert np.array_equal(np.array(answer["embeddings"], np.float32), client.embed(texts))
    assert answer["truncated"] == [False, False, True]


@pytest.mark.parametrize(
    ("data", "status", "detail"),
    [
        (b"", 422, "The file is empty."),
        (b"hello", 415, "The file is not a PNG or JPEG image."),
        (digit(0)[0][:150], 422, "The PNG image of 150 bytes is truncated or corrupt: send the whole file."),
        (digit(0, "JPEG")[0][:700], 422, "The JPEG image of 700 bytes is truncated or corrupt: send the whole file."),
        (b"\xff\xd8\xff", 422, "These 3 bytes are not a PNG or JPEG image: send an encoded image file."),
        (bomb(60_000), 422, "The image has more than {} million pixels: scale it down before sending."),
        (bomb(0), 422, "These "),
    ],
    ids=["empty", "text", "cut PNG", "cut JPEG", "three bytes", "bomb", "no pixels"],
)
def test_a_bad_image_is_named_beside_good_ones(http: httpx.Client, data: bytes, status: int, detail: str) -> None:
    files = [("images", ("good.png", digit(1)[0])), ("images", ("bad.png", data))]
    answer = http.post("/v1/classify", files=files)
    body = answer.json()
    assert answer.status_code == status
    assert body["detail"].startswith(detail.partition("{}")[0])
    assert (body["filename"], body["position"]) == ("bad.png", 2)


def test_many_callers_each_get_their_own_answer(http: httpx.Client) -> None:
    def ask(number: int) -> bool:
        if number % 2:
            (vector,) = http.post("/v1/embed", json={"text": f"number {number}"}).json()["embeddings"]
            return len(vector) == 384
        data, label = digit(number)
        answer = http.post(
            "/v1/classify", files={"images": (f"{number}.png", data)}, headers={"x-request-id": f"{number}"}
        )
        body = answer.json()
        return body["request_id"] == str(number) and body["predictions"][0]["label"] == label

    with ThreadPoolExecutor(16) as pool:
        right = sum(pool.map(ask, range(200)))
    assert right >= 197  # the network itself errs on a digit in a hundred


def test_calls_in_flight_are_finished_when_it_is_told_to_stop(triton: Server) -> None:
    with served(triton, ["--max-calls", "1", "--deadline-s", "60"]) as api, ThreadPoolExecutor(8) as pool:
        body = {"texts": ["word " * 200] * 32}  # takes a while
        answers = [
            pool.submit(httpx.post, f"{api.url}/v1/embed", json=body, timeout=60, trust_env=False) for _ in range(3)
        ]
        until(lambda: any(answer.done() for answer in answers), 30)
        api.process.terminate()
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
        assert api.process.wait(15) == 0
    assert [json.loads(line)["status"] for line in api.log] == [200, 200, 200]


def test_a_triton_that_dies_makes_it_unready_and_one_that_comes_back_ready(
    triton: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("dying") / "log"
    options = {"http_port": 0, "metrics_port": 0, "models": ["classify_image"], "log": log}
    with Server(ROOT / "model_repository", grpc_port=0, **options) as other:
        port = int(other.grpc_url.rpartition(":")[2])
        with served(other) as api, httpx.Client(base_url=api.url, trust_env=False, timeout=30) as http:
            assert http.get("/readyz").json()["models"] == {"classify_image": True, "embed_text": False}
            answer = http.post("/v1/embed", json={"text": "a"})
            assert (answer.status_code, answer.json()["detail"]) == (
                503,
                "The model is not loaded: try again in a moment.",
            )
            other.stop(at_once=True)
            answer = http.post("/v1/classify", files={"images": digit(0)[0]})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert http.get("/healthz").status_code == 200
            with Server(ROOT / "model_repository", grpc_port=port, **options):
                until(lambda: http.get("/readyz").json()["models"]["classify_image"])
                assert http.post("/v1/classify", files={"images": digit(0)[0]}).status_code == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen", "nowhere"], '--listen: "nowhere" is no address: write HOST:PORT, for example 127.0.0.1:8090'),
        (["--listen", "203.0.113.1:80"], "give an address of this machine"),
        (["--url", "ftp://x", "--listen", "127.0.0.1:0"], '"ftp://x" is no address of a Triton'),
        (["--classify", "none"], '--classify is "none", no ensemble'),
        (["--gateway", "none.toml"], "none.toml: no such file"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(options: list[str], said: str) -> None:
    done = subprocess.run([*COMMAND, *options], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_told(real: Served) -> None:
    listen = real.url.removeprefix("http://")
    done = subprocess.run(
        [*COMMAND, "--listen", listen, "--url", "grpc://x:1"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"ai102: --listen: cannot listen on {listen} (Address already in use): stop what listens there, or choose "
        "another (port 0: any free one)\n"
    )


def test_callers_who_leave_leave_nothing_behind(real: Served) -> None:
    def leave(number: int) -> None:
        with httpx.Client(base_url=real.url, trust_env=False) as one, contextlib.suppress(httpx.TimeoutException):
            one.post("/v1/embed", json={"texts": ["word " * 20] * 4}, timeout=httpx.Timeout(5, read=0.004))

    def open_files() -> int:
        return sum(1 for _ in Path(f"/proc/{real.process.pid}/fd").iterdir())

    with httpx.Client(base_url=real.url, trust_env=False, timeout=60) as http:
        http.get("/readyz")
        before = open_files()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(leave, range(64)))
        until(lambda: http.get("/readyz").status_code == 200 and open_files() <= before + 1, 30)
    assert sum(json.loads(line)["status"] == 499 for line in real.log) > 10


def test_without_an_address_it_asks_the_replicas_of_the_policy_and_says_so(real: Served, tmp_path: Path) -> None:
    policy = tmp_path / "gateway.toml"
    policy.write_text(
        f'[[triton.replicas]]\nname = "a"\nhttp = "{real.triton.http_url}"\ngrpc = "{real.triton.grpc_url}"\n'
        '[[issuers]]\nissuer = "x"\naudience = "x"\njwks = "http://127.0.0.1:9/jwks"\n[roles.caller]\n'
        '[[grants]]\nrole = "caller"\nverbs = ["infer"]\nmodels = ["*"]\n'
    )
    command = [*COMMAND, "--listen", "127.0.0.1:0", "--gateway", str(policy)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.terminate()  # at once: a signal right after the line must stop it too
        assert process.wait(timeout=60) == 0
    assert f" asks grpc://{real.triton.grpc_url}, the replicas of gateway.toml (Ctrl-C" in line
