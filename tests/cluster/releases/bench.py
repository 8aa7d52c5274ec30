"""A stack in a cluster whose releases are tried, and the images of each release."""

from __future__ import annotations

import re
import subprocess
from functools import cached_property

from ai102.images.docker import found_docker
from ai102.images.dockerfiles import RECIPES, reference_of
from ai102.images.labels import version_of
from ai102.images.saved import saved_image
from k8s.local import api, loading, registry
from k8s.local.plan import ROOT
from tests.cluster.calls.stack import NAMESPACE, Stack
from tests.cluster.releases.catalogue import Release
from tests.cluster.releases.trial import LENGTH_S, Images, Say, Trial, settle, tried, unwatched
from tests.cluster.releases.ways import Rollouts

PIPELINES = ("classify_image", "score_image")


class Bench:
    """A cluster of its own with the release in service; images of others are pushed when they are first tried."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        analysis = api.get(stack.plan, f"/apis/flagger.app/v1beta1/namespaces/{NAMESPACE}/canaries/triton")
        self.rollouts = Rollouts(stack, analysis["spec"]["analysis"])
        names = loading.loaded(stack.plan)
        self.base = Images(names["ai102/models"], names["ai102/server"])

    def trial(self, release: Release, way: str, watch: Say = unwatched, length_s: float = LENGTH_S) -> Trial:
        images = self._images(release)
        settle(self.rollouts, self.base)
        return tried(self.rollouts, self.stack.place(), release.name, way, images, watch, length_s)

    def _images(self, release: Release) -> Images:
        """Pushed."""
        if release.another_server:
            return Images(self.base.models, self._other_server)
        tag = re.sub(r"[^a-z0-9]+", "-", release.name.lower()).strip("-")
        return Images(self.stack.release_models(tag, release.change), self.base.server)

    @cached_property
    def _other_server(self) -> str:
        """The server's image built anew: another digest."""
        name = reference_of(RECIPES["server"], version_of(ROOT))
        other = f"{name.rpartition(':')[0]}:anew"
        dockerfile = f"FROM {name}\nLABEL org.opencontainers.image.revision=anew\n"
        build = ["docker", "build", "--quiet", f"--tag={other}", "-"]
        subprocess.run(build, input=dockerfile, text=True, check=True, capture_output=True)
        image = saved_image(found_docker(), other, self.stack.plan.folder / "server-anew")
        (reference,) = registry.push(self.stack.plan, [image])
        return reference
