"""A storage class for a cluster that has none: folders of its nodes, which one pod after another may claim."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from k8s.local import machines
from k8s.local.plan import NODES, Machine, Plan
from tests.cluster.overlays.site import Object, Site

CLASS = "folders"
FOLDER = "lib/ai102-volumes"
NUMBERS = range(3)
# A folder of one node is written by the pods of that node alone: pods of a shared claim all go there.
MODES = ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"]


def make(site: Site) -> None:
    """Empty folders on every node, as volumes that no claim has."""
    site.run("delete", "persistentvolumes", "--all", "--wait=true", "--timeout=60s")
    for node in NODES:
        shutil.rmtree(_root(site.plan, node), ignore_errors=True)
        for number in NUMBERS:
            folder_of(site.plan, node, number).mkdir(parents=True)
    rows = [_volume(node, number) for node in NODES for number in NUMBERS]
    site.apply_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [_class(), *rows]}))


def folder_of(plan: Plan, node: Machine, number: int) -> Path:
    """The folder of a volume, seen from outside of the node."""
    return _root(plan, node) / str(number)


def _root(plan: Plan, node: Machine) -> Path:
    return machines.var_of(plan, node) / FOLDER


def _class() -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _volume(node: Machine, number: int) -> Object:
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}]}]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{node.name}-{number}"},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": MODES,
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": CLASS,
            "local": {"path": f"/var/{FOLDER}/{number}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
    }
