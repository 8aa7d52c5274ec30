"""Build and serve the reference networks, send requests over HTTP and gRPC, and print a summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from ai102 import artifact
from ai102.build import verbs
from ai102.build.workspace import Workspace
from ai102.client import Client, bytes_array
from ai102.configs import configure
from ai102.progress import Reporter
from ai102.samples.read import label_numbers, read_samples
from ai102.serve.server import Server

IMAGES = 24
TIMED_REQUESTS = 200
SENTENCES = (
    "My parcel still has not arrived.",
    "Where is the package I ordered last week?",
    "The soup needs more salt and a squeeze of lemon.",
    "Season the broth and add some citrus.",
    "The server ran out of memory during the night.",
    "Our backend crashed at 3 a.m. because its RAM was full.",
    "She scored the winning goal in extra time.",
    "A late goal decided the match.",
    "Please cancel my subscription at the end of the month.",
    "I would like to stop my membership from next month on.",
)


@dataclass(frozen=True)
class Picture:
    """A held-out digit as a client sends it."""

    name: str
    data: bytes
    truth: str


def run(workspace: Workspace, report: Reporter) -> None:
    """Run every build step, start a server, send requests over HTTP and gRPC, and print the results.

    Uses `classify_image` and `embed_text`, so it works for the reference networks only. Raises UserError
    where a build step or the server does.
    """
    began = time.monotonic()
    for path in configure.write(workspace.contract, workspace.repository):
        report.say(f"wrote {workspace.repository.name}/{path}")
    for name in workspace.contract.networks:
        verbs.engine(workspace, name, report)
    pictures = _pictures(workspace)
    log = workspace.build("demo") / "tritonserver.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with report.step("starting tritonserver"):
        server = Server(
            workspace.repository, http_port=0, grpc_port=0, metrics_port=0, contract=workspace.contract, log=log
        )
        server.start()
    try:
        urls = (f"http://{server.http_url}", f"grpc://{server.grpc_url}")
        answers = {url.partition(":")[0]: _ask(url, pictures, report) for url in urls}
    finally:
        server.stop()
    sheet = workspace.build("demo") / "contact_sheet.png"
    _draw(pictures, answers["grpc"].labels, sheet)
    console = Console(highlight=False)
    for table in (
        _built(workspace),
        _labelled(pictures, answers),
        _neighbours(answers["grpc"].embeddings),
        _times(answers),
    ):
        console.print()
        console.print(table)
    same = np.array_equal(answers["http"].embeddings, answers["grpc"].embeddings)
    console.print(f"\nHTTP and gRPC gave {'the same' if same else 'DIFFERENT'} embeddings, bit for bit.")
    console.print(f"Images with their labels: {sheet.relative_to(workspace.root)}")
    console.print(f"Done in {time.monotonic() - began:.0f} s. Next:", soft_wrap=True)
    console.print("  make serve                                    the same server, until Ctrl-C")
    console.print("  . .venv/bin/activate; ai102 infer embed_text 'your text'   send a request")
    console.print("  README.md, CONTRIBUTING.md                    your own model: one table in models.toml")


@dataclass(frozen=True)
class Answers:
    """The results of one protocol."""

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    embeddings: NDArray[np.float32]
    milliseconds: dict[str, NDArray[np.float64]]  # per model, of every timed request


def _pictures(workspace: Workspace) -> list[Picture]:
    """The first held-out digits, enlarged, every second one as JPEG."""
    network = workspace.network("digits")
    samples = read_samples(workspace.sets, network.calibration_set or "digits", "test")
    pictures = []
    numbers = label_numbers(network, samples)
    for position, (item, label) in enumerate(zip(samples.items[:IMAGES], numbers, strict=False)):
        kind = ("PNG", "JPEG")[position % 2]
        out = BytesIO()
        Image.open(BytesIO(item)).resize((64, 64), Image.Resampling.NEAREST).save(out, kind, quality=95)
        pictures.append(Picture(f"{position:02d}.{kind.lower()}", out.getvalue(), network.labels[label]))
    return pictures


def _ask(url: str, pictures: Sequence[Picture], report: Reporter) -> Answers:
    texts = [sentence.encode() for sentence in SENTENCES]
    with Client(url) as client, report.step(f"asking over {url.partition(':')[0]}"):
        classified = [client.infer("classify_image", {"image": bytes_array([p.data])}) for p in pictures]
        vectors = [client.infer("embed_text", {"text": bytes_array([t])})["sentence_embedding"][0] for t in texts]
        ids = np.ones((1, 32), np.int64)
        calls: dict[str, Callable[[int], Any]] = {
            "classify_image": lambda i: {"image": bytes_array([pictures[i % len(pictures)].data])},
            "embed_text": lambda i: {"text": bytes_array([texts[i % len(texts)]])},
            "minilm_fp32": lambda i: {"input_ids": ids, "attention_mask": ids},
            "minilm_int8": lambda i: {"input_ids": ids, "attention_mask": ids},
        }
        times = {model: _timed(client, model, inputs) for model, inputs in calls.items()}
    return Answers(
        tuple(answer["label"][0, 0].decode() for answer in classified),
        tuple(float(answer["score"][0, 0]) for answer in classified),
        np.stack(vectors),
        times,
    )


def _timed(client: Client, model: str, inputs: Callable[[int], Any]) -> NDArray[np.float64]:
    times = []
    for i in range(TIMED_REQUESTS):
        began = time.perf_counter()
        client.infer(model, inputs(i))
        times.append((time.perf_counter() - began) * 1000)
    return np.array(times)


def _built(workspace: Workspace) -> Table:
    table = Table(
        "network", "FP32", "INT8", "size", "on held-out data", title="What was built", title_justify="left", box=None
    )
    for name, network in workspace.contract.networks.items():
        sizes = [
            (workspace.builds(name).newest(f"{name}_{precision}") / "model.onnx").stat().st_size / 1e6
            for precision in network.precisions
        ]
        facts = artifact.facts_of(workspace.build(name) / "int8.onnx") if len(sizes) == 2 else {}
        cells = [f"{size:.2f} MB" for size in sizes] + ["-"] * (2 - len(sizes))
        table.add_row(name, *cells, f"{sizes[-1] / sizes[0]:.0%}", str(facts.get("summary", "")))
    return table


def _labelled(pictures: Sequence[Picture], answers: dict[str, Answers]) -> Table:
    table = Table(
        "image",
        "is",
        "HTTP",
        "gRPC",
        title=f"{len(pictures)} held-out digits through classify_image",
        title_justify="left",
        box=None,
    )
    columns = [zip(a.labels, a.scores, strict=True) for a in (answers["http"], answers["grpc"])]
    correct = 0
    for picture, (http, http_score), (grpc, grpc_score) in zip(pictures, *columns, strict=True):
        correct += picture.truth == http == grpc
        table.add_row(picture.name, picture.truth, f"{http} {http_score:.3f}", f"{grpc} {grpc_score:.3f}")
    table.caption = f"{correct} of {len(pictures)} right over both protocols"
    return table


def _neighbours(embeddings: NDArray[np.float32]) -> Table:
    table = Table(
        "sentence",
        "nearest of the others",
        "cosine",
        title="10 sentences through embed_text",
        title_justify="left",
        box=None,
    )
    cosines = embeddings @ embeddings.T
    np.fill_diagonal(cosines, -1)
    for sentence, row in zip(SENTENCES, cosines, strict=True):
        table.add_row(sentence, SENTENCES[int(row.argmax())], f"{row.max():.2f}")
    return table


def _times(answers: dict[str, Answers]) -> Table:
    title = f"Milliseconds a request, one at a time, {TIMED_REQUESTS} each (minilm_*: 32 tokens)"
    table = Table("model", "HTTP p50", "p99", "gRPC p50", "p99", title=title, title_justify="left", box=None)
    for model in answers["http"].milliseconds:
        cells = [
            f"{np.percentile(answers[protocol].milliseconds[model], percent):.2f}"
            for protocol in ("http", "grpc")
            for percent in (50, 99)
        ]
        table.add_row(model, *cells)
    return table


def _draw(pictures: Sequence[Picture], labels: Sequence[str], file: Path) -> None:
    """A contact sheet of the images, each above its predicted label; wrong labels are red."""
    across, cell_width, cell_height = 8, 96, 96
    down = -(-len(pictures) // across)
    sheet = Image.new("RGB", (across * cell_width, down * cell_height), "white")
    pen = ImageDraw.Draw(sheet)
    for position, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = position % across * cell_width, position // across * cell_height
        sheet.paste(Image.open(BytesIO(picture.data)).convert("RGB"), (left + 16, top + 8))
        colour = "black" if label == picture.truth else "red"
        text = label if label == picture.truth else f"{label} (is {picture.truth})"
        pen.text((left + cell_width // 2, top + 84), text, fill=colour, anchor="mm")
    with artifact.replacing(file) as temporary:
        sheet.save(temporary, "PNG")
