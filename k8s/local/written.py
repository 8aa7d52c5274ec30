"""Manifests of add-ons that no part carries as a kustomization: Istio's own program writes them, Flagger has files."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from ai102.errors import UserError
from ai102.parts import Cache, carried, program
from k8s.local.node import ADDED_PLUGINS
from k8s.local.plan import Plan

INSTALLATION = Path(__file__).parent / "addons" / "istio" / "istioctl" / "installation.yaml"
TIMEOUT_S = 300.0


def istio(plan: Plan, cache: Cache, images: Mapping[str, str]) -> str:
    """What istioctl writes for the installation, with these images and the folders of these nodes. Raises UserError."""
    settings = {
        "pilot.image": images["pilot"],
        "global.proxy.image": images["proxyv2"],
        "global.proxy_init.image": images["proxyv2"],
        "cni.image": images["install-cni"],
        "cni.cniBinDir": ADDED_PLUGINS,
        "cni.cniConfDir": str(plan.folder / "machines"),  # with a folder of each node in it
    }
    options = [f"--filename={INSTALLATION}", *(f"--set=values.{key}={value}" for key, value in settings.items())]
    command = [str(program("istio", "istioctl", cache=cache)), "manifest", "generate", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode:
        raise UserError(f"istioctl manifest generate: {done.stderr.strip()}")
    return done.stdout


def flagger(plan: Plan, cache: Cache, images: Mapping[str, str]) -> str:
    """The files that the part carries, one after the other. Raises UserError."""
    files = sorted(carried("flagger", "manifests", cache=cache).glob("*.yaml"))
    return "\n---\n".join(file.read_text(encoding="utf-8") for file in files)
