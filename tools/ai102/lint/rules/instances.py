"""MR7xx: instance groups and what they take of the rate limiter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.backends import served
from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model, Repository

CODES: tuple[Code, ...] = (
    Code(
        "MR701",
        "error",
        "GPUs for a group that takes none",
        "`gpus` belongs to KIND_GPU. Triton refuses it on KIND_CPU, and on KIND_MODEL, where the model itself "
        "chooses its devices.",
    ),
    Code(
        "MR702",
        "error",
        "profile of TensorRT on another platform",
        "`profile` picks an optimization profile of a TensorRT plan. Triton refuses it on every other platform.",
    ),
    Code(
        "MR703",
        "error",
        "profile that is no number",
        "TensorRT numbers its optimization profiles from 0; Triton refuses a `profile` that is not such a number in "
        "quotes.",
    ),
    Code(
        "MR704",
        "error",
        "kind that does not exist",
        "The kinds are KIND_AUTO, KIND_CPU, KIND_GPU and KIND_MODEL. Any other number parses, and is then refused.",
    ),
    Code(
        "MR705",
        "warning",
        "only passive instances",
        "A passive instance is loaded and never given a request. With no other instance the model says it is ready "
        "and no request to it is ever answered.",
    ),
    Code(
        "MR706",
        "warning",
        "resource both global and of each device",
        "One name is either a resource of the whole server or of each device. With --rate-limit=execution_count the "
        "server refuses a model that uses a name as both; without the flag it reads neither.",
    ),
    Code(
        "MR707",
        "error",
        "GPU with a negative number",
        "`gpus` are the numbers of CUDA devices, from 0. Triton refuses any that the machine does not have, and no "
        "machine has a negative one. Leave `gpus` out for all of them.",
    ),
)


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    config = model.config
    if config is None:
        return
    if config.HasField("ensemble_scheduling"):
        return
    platform = served(model).platform
    for place, group in enumerate(config.instance_group):
        yield from _group(model, f"instance_group[{place}]", group, platform)
    if config.instance_group and all(group.passive for group in config.instance_group):
        message = "every instance is passive: no request would be answered"
        yield model.finding("MR705", "instance_group[0].passive", message, "add a group that is not passive")
    yield from _resources(model, config)


def _group(model: Model, where: str, group: Any, platform: str) -> Iterator[Finding]:
    kinds = pb.ModelInstanceGroup.Kind.DESCRIPTOR.values_by_number
    if group.kind not in kinds:
        advice = "write KIND_CPU, KIND_GPU, KIND_MODEL or KIND_AUTO"
        yield model.finding("MR704", f"{where}.kind", f"there is no kind {group.kind}", advice)
    elif group.gpus and group.kind in (pb.ModelInstanceGroup.KIND_CPU, pb.ModelInstanceGroup.KIND_MODEL):
        message = f"a group of {kinds[group.kind].name} names GPUs"
        fix = model.list_fix(f"{where}.gpus", len(group.gpus), "")
        yield model.finding("MR701", f"{where}.gpus", message, "leave gpus out, or write KIND_GPU", fix)
    for place, gpu in enumerate(group.gpus):
        if gpu < 0:
            advice = "write device numbers from 0, or leave gpus out for all devices"
            yield model.finding("MR707", f"{where}.gpus[{place}]", f"there is no GPU {gpu}", advice)
    if group.profile and platform != "tensorrt_plan":
        message = "a profile is of TensorRT plans, and this model is none"
        fix = model.list_fix(f"{where}.profile", len(group.profile), "")
        yield model.finding("MR702", f"{where}.profile", message, "leave profile out", fix)
    elif group.profile:
        for place, profile in enumerate(group.profile):
            if not profile.isdecimal():
                message = f"{profile!r} is no profile's number"
                yield model.finding("MR703", f"{where}.profile[{place}]", message, 'write "0", "1" or so')


def _resources(model: Model, config: pb.ModelConfig) -> Iterator[Finding]:
    seen: dict[str, bool] = {}
    for place, group in enumerate(config.instance_group):
        for number, resource in enumerate(group.rate_limiter.resources):
            is_global = bool(getattr(resource, "global"))  # a keyword in Python
            if seen.setdefault(resource.name, is_global) != is_global:
                where = f"instance_group[{place}].rate_limiter.resources[{number}]"
                message = f"the resource {resource.name!r} is global here and of each device elsewhere"
                yield model.finding("MR706", where, message, "write `global: true` for all of them or for none")
