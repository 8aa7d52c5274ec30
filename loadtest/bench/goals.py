"""The ratios that the benchmark computes, and the goal of each."""

from __future__ import annotations

from dataclasses import dataclass

HTTP, GRPC, SHM = "Triton HTTP", "Triton gRPC", "Triton shared memory"
LOOP, LOOP_BATCHED = "session loop", "session loop, batched"
# FastAPI on the engine that the build chose for Triton; the others compute by ONNX Runtime.
CHOSEN = "FastAPI, chosen engine"
PEERS = ("FastAPI", CHOSEN, "LitServe", "BentoML", "Ray Serve")
STEPS = {"image": ("digits_decode", "digits_int8"), "text": ("minilm_tokenize", "minilm_int8")}
# The same steps as a Triton ensemble.
ENSEMBLES = {"image": "classify_image_steps", "text": "embed_text_steps"}
# The raw work is one step of this ensemble; the ensemble and its other step are measured in addition.
LARGE_ENSEMBLE, LARGE_DECODE = "score_large_image", "resnet50_decode"
CONCURRENCIES = (1, 8, 32)
SATURATED = 32


def step_name(model: str) -> str:
    """The name in the results of a model other than the work's, such as a step of its ensemble."""
    return f"Triton gRPC, {model}"


@dataclass(frozen=True)
class Goal:
    """The ratio of `over` to the smallest of `under`, each at its concurrency."""

    name: str
    work: str
    over: tuple[str, int]
    under: tuple[str, ...]
    under_concurrency: int
    measure: str = "per_s"
    at_least: float | None = None
    at_most: float | None = None


def _against_peers(peer: str, at_least: float, text_at_least: float | None = None) -> tuple[Goal, ...]:
    at = SATURATED
    return (
        Goal(f"image to label at {at}: Triton gRPC / {peer}", "image", (GRPC, at), (peer,), at, at_least=at_least),
        Goal(f"image to label at {at}: Triton HTTP / {peer}", "image", (HTTP, at), (peer,), at),
        Goal(
            f"image to label at {at}, p99: Triton gRPC / {peer}", "image", (GRPC, at), (peer,), at, "p99_ms", None, 1.0
        ),
        Goal(
            f"text to embedding at {at}: Triton gRPC / {peer}", "text", (GRPC, at), (peer,), at, at_least=text_at_least
        ),
    )


def _one_in_flight(work: str) -> tuple[Goal, ...]:
    return tuple(
        Goal(f"{work}, one in flight: {form} / FastAPI", work, (form, 1), ("FastAPI",), 1, at_least=at_least)
        for form, at_least in ((HTTP, 0.95), (GRPC, None))
    )


def _ensemble(work: str, at_least: float | None) -> Goal:
    steps = tuple(step_name(model) for model in STEPS[work])
    name = f"{work}: pipeline in one process / its slowest step, at {SATURATED}"
    return Goal(name, work, (GRPC, SATURATED), steps, SATURATED, at_least=at_least)


def _forms(work: str, one_process: str) -> Goal:
    name = f"{work}: pipeline in one process / the same as a Triton ensemble, at {SATURATED}"
    return Goal(name, work, (one_process, SATURATED), (step_name(ENSEMBLES[work]),), SATURATED)


GOALS = (
    Goal("ResNet-50 INT8: Triton gRPC at 8 / session loop", "resnet50_int8", (GRPC, 8), (LOOP,), 1, at_least=0.97),
    Goal("ResNet-50 INT8: Triton gRPC at 8 / session loop of 8", "resnet50_int8", (GRPC, 8), (LOOP_BATCHED,), 8),
    Goal(
        "ResNet-50 INT8: Triton shared memory at 8 / session loop", "resnet50_int8", (SHM, 8), (LOOP,), 1, at_least=0.97
    ),
    Goal("ResNet-50 INT8: shared memory / gRPC, at 8", "resnet50_int8", (SHM, 8), (GRPC,), 8, at_least=1.0),
    Goal("ResNet-50 FP32: Triton gRPC at 8 / session loop", "resnet50_fp32", (GRPC, 8), (LOOP,), 1),
    Goal("1-ms model: Triton gRPC at 32 / session loop", "one_ms", (GRPC, 32), (LOOP,), 1, at_least=0.95),
    Goal("1-ms model: Triton gRPC at 32 / session loop of 32", "one_ms", (GRPC, 32), (LOOP_BATCHED,), 32),
    *_against_peers("FastAPI", 1.65, 1.5),
    Goal(
        f"text to embedding at {SATURATED}: Triton gRPC / {CHOSEN}", "text",
        (GRPC, SATURATED), (CHOSEN,), SATURATED, at_least=1.1,
    ),
    Goal(
        f"text to embedding at {SATURATED}: Triton gRPC / session loop of {SATURATED}", "text",
        (GRPC, SATURATED), (LOOP_BATCHED,), SATURATED, at_least=0.97,
    ),
    *_one_in_flight("image"),
    *_one_in_flight("text"),
    *_against_peers("LitServe", 2.0),
    *_against_peers("BentoML", 1.5),
    *_against_peers("Ray Serve", 1.5),
    _ensemble("image", 1 / 1.1),
    _ensemble("text", 1 / 1.1),
    _forms("image", step_name("classify_image")),
    _forms("text", GRPC),
    Goal(
        f"224x224 JPEG, ResNet-50 INT8: ensemble / its slowest step, at {SATURATED}", "resnet50_int8",
        (step_name(LARGE_ENSEMBLE), SATURATED), (GRPC, step_name(LARGE_DECODE)), SATURATED, at_least=1 / 1.1,
    ),
)  # fmt: skip
