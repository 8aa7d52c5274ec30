"""Manifests of folders applied with the images of this cluster: kustomize puts the digests in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ai102 import artifact
from k8s.local.api import FIELD_MANAGER, kubectl
from k8s.local.plan import Plan


def apply_folders(
    plan: Plan, program: Path, bases: Sequence[Path], images: Mapping[str, str], components: Sequence[Path] = ()
) -> None:
    """Apply kustomizations, with components of kustomize that patch them.

    `images`: what the manifests name, and the name with digest to put there. Raises UserError.
    """
    target = plan.folder / "manifests" / (*components, *bases)[0].name
    relative = [[os.path.relpath(folder, target) for folder in folders] for folders in (bases, components)]
    artifact.write_text(target / "kustomization.yaml", overlay(relative[0], images, relative[1]))
    options = ["--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}"]
    kubectl(plan, program, "apply", *options, "-k", str(target))


def overlay(bases: Sequence[str], images: Mapping[str, str], components: Sequence[str] = ()) -> str:
    """A kustomization; paths are relative to it. JSON is YAML."""
    rows = []
    for name, target in sorted(images.items()):
        new_name, _, digest = target.partition("@")
        rows.append({"name": name, "newName": new_name, "digest": digest})
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(bases),
        "components": list(components),
        "images": rows,
    }
    return json.dumps(document, indent=1) + "\n"
