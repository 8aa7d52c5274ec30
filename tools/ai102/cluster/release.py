"""Which images run, by digest, and in how many pods."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ai102.cluster.facts import Facts, Pod

DIGEST_DIGITS = 12


@dataclass(frozen=True)
class Image:
    """An image as a pod has it: its name without a tag, and the digest, or the tag where no digest is known."""

    name: str
    version: str

    @property
    def words(self) -> str:
        return f"{self.name.rpartition('/')[2]} {self.short}"

    @property
    def short(self) -> str:
        algorithm, colon, digits = self.version.partition(":")
        return digits[:DIGEST_DIGITS] if colon and algorithm == "sha256" else self.version

    @property
    def is_pinned(self) -> bool:
        return self.version.startswith("sha256:")


@dataclass(frozen=True)
class Part:
    """One image of the release: `pods` of `of` pods of its workloads have it."""

    image: Image
    workloads: tuple[str, ...]
    pods: int
    of: int


def image_from(reference: str, digest: str = "") -> Image:
    """`digest` is what the node reports, which counts more than the reference."""
    name, _, given = reference.partition("@")
    last = name.rpartition("/")[2]
    tag = last.partition(":")[2]
    name = name[: len(name) - len(tag) - 1] if tag else name
    return Image(name, digest or given or tag or "latest")


def images_of(pod: Pod) -> tuple[Image, ...]:
    """Of its containers and image volumes, without those that only prepare the start."""
    mains = [image_from(each.image, each.digest) for each in pod.containers if not each.is_initial]
    return tuple(dict.fromkeys([*mains, *map(image_from, pod.volumes)]))


def release(facts: Facts) -> list[Part]:
    """The parts of this project first, then what supports them; images of no running pod are left out."""
    pods = [pod for pod in facts.running if pod.workload]
    images: dict[Image, list[Pod]] = {}
    for pod in sorted(pods, key=_rank):
        for image in images_of(pod):
            images.setdefault(image, []).append(pod)
    return [_part(image, with_it, pods) for image, with_it in images.items()]


def _part(image: Image, with_it: list[Pod], pods: Iterable[Pod]) -> Part:
    workloads = tuple(dict.fromkeys(pod.workload for pod in with_it))
    return Part(image, workloads, len(with_it), sum(pod.workload in workloads for pod in pods))


def _rank(pod: Pod) -> tuple[int, str]:
    return (("triton", "gateway", "api", "issuer", "support").index(pod.role), pod.workload)
