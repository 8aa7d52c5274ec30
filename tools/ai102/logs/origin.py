"""What the path of a log says: which container wrote it, and which pod in which namespace of Kubernetes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

POD = r"(?P<pod>[a-z0-9][a-z0-9.-]*)"
NAMESPACE = r"(?P<namespace>[a-z0-9][a-z0-9-]*)"
CONTAINER = r"(?P<container>[a-z0-9][a-z0-9-]*)"
DOCKER = re.compile(r".*/(?P<id>[0-9a-f]{64})/(?P=id)-json\.log")
# The kubelet's link of a container, and the file behind it.
LINK = re.compile(rf".*/{POD}_{NAMESPACE}_{CONTAINER}-(?P<id>[0-9a-f]{{64}})\.log")
KUBELET = re.compile(rf".*/{NAMESPACE}_{POD}_(?P<uid>[0-9a-f-]{{32,36}})/{CONTAINER}/\d+\.log")
COMPOSE_SERVICE = "com.docker.compose.service"


def origin_of(path: Path, host: str) -> dict[str, Any]:
    """Dotted fields for every line of the file."""
    fields: dict[str, Any] = {"host.name": host, "log.file.path": str(path)}
    if match := LINK.fullmatch(str(path)) or KUBELET.fullmatch(str(path)):
        parts = match.groupdict()
        fields |= {
            "orchestrator.type": "kubernetes",
            "orchestrator.namespace": parts["namespace"],
            "orchestrator.resource.type": "pod",
            "orchestrator.resource.name": parts["pod"],
            "orchestrator.resource.id": parts.get("uid", ""),
            "container.name": parts["container"],
            "container.id": parts.get("id", ""),
            "service.name": parts["container"],
        }
    elif match := DOCKER.fullmatch(str(path)):
        fields |= {"container.id": match["id"], **_docker_container(path)}
    else:
        fields["service.name"] = path.name.partition(".")[0]
    return fields


def _docker_container(log: Path) -> dict[str, str]:
    """Name, image and Compose's service, from the file that Docker keeps beside the log; {} where it cannot be read."""
    try:
        facts = json.loads((log.parent / "config.v2.json").read_text(encoding="utf-8"))
        name = str(facts["Name"]).lstrip("/")
        config: Mapping[str, Any] = facts["Config"]
        labels: Mapping[str, str] = config.get("Labels") or {}
        service = labels.get(COMPOSE_SERVICE, name)
        return {"container.name": name, "container.image.name": str(config.get("Image", "")), "service.name": service}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
