"""Compose's files together, as Compose itself reads them: what every service and network has, whatever is chosen."""

import ipaddress
import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ai102.compose.dapr import DAPR_FILE, DAPR_PARTS_FILE
from ai102.compose.eyes import PARTS_FILE, PUBLISHED_FILE
from ai102.compose.settings import write_settings
from tests.compose.test_prepared import SETTINGS, WITH_ALL
from tests.parts_of import program_or_skip

ROOT = Path(__file__).parent.parent.parent
CHOICES = {
    "embedded": [],
    "eyes": [PUBLISHED_FILE],
    "eyes of parts": [PARTS_FILE],
    "dapr": [DAPR_FILE],
    "dapr of parts": [DAPR_FILE, DAPR_PARTS_FILE],
    "all of parts": [PARTS_FILE, PUBLISHED_FILE, DAPR_FILE, DAPR_PARTS_FILE],
}
REACH_OUTSIDE = {"edge", "pagers", "desk"}
# Nothing in their images could ask them; those of parts can.
WITHOUT_HEALTH_CHECK = {"collector", "api-daprd", "worker-daprd"}


@pytest.fixture(scope="module", params=CHOICES)
def files(request: pytest.FixtureRequest) -> list[str]:
    return ["compose.yaml", *CHOICES[request.param]]


@pytest.fixture(scope="module")
def config(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Compose makes of the files and .env."""
    folder = tmp_path_factory.mktemp("env")
    write_settings(folder, WITH_ALL if len(files) > 1 else SETTINGS)
    values = dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines() if not line.startswith("#"))
    values |= {"AI102_EYES_BIND": "127.0.0.1", "COMPOSE_FILE": ":".join(files), "COMPOSE_PROJECT_NAME": "test"}
    program = program_or_skip("docker-compose")
    command = [str(program), "--project-directory", str(ROOT), "--env-file", "/dev/null", "--profile", "eyes", "config"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AI102_", "COMPOSE_"))}
    done = subprocess.run(
        [*command, "--format", "json"], cwd=ROOT, env=clean | values, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_every_service_is_locked_down_limited_and_asked_for_its_health(
    config: dict[str, Any], files: list[str]
) -> None:
    for name, service in config["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "always", name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert service["logging"]["options"]["max-size"], name
    without = {name for name, one in config["services"].items() if one.get("healthcheck", {}).get("disable")}
    assert without <= WITHOUT_HEALTH_CHECK
    assert not without or not {PARTS_FILE, DAPR_PARTS_FILE} <= set(files)


def test_only_the_gateway_is_published_and_the_eyes_where_that_is_wanted(
    config: dict[str, Any], files: list[str]
) -> None:
    published = {name for name, service in config["services"].items() if service.get("ports")}
    assert published - {"gateway"} <= ({"prometheus", "zipkin", "grafana"} if PUBLISHED_FILE in files else set())


def test_networks_do_not_overlap_and_do_not_lead_outside(config: dict[str, Any]) -> None:
    rows = {name: row for name, row in config["networks"].items() if name not in REACH_OUTSIDE}
    assert [name for name, row in rows.items() if not row.get("internal")] == []
    subnets = [ipaddress.ip_network(row["ipam"]["config"][0]["subnet"]) for row in rows.values()]
    assert [pair for pair in itertools.combinations(subnets, 2) if pair[0].overlaps(pair[1])] == []


def test_what_is_accepted_outlives_the_containers_and_their_volumes(config: dict[str, Any]) -> None:
    kept = {"models", "gateway", "issuer", "jobs", "compiled", "redis", "postgres"}
    assert {name for name, row in config["volumes"].items() if row.get("external")} == kept & set(config["volumes"])


def test_with_dapr_who_needs_a_password_has_it_and_nobody_else(config: dict[str, Any], files: list[str]) -> None:
    holders: dict[str, set[str]] = {}
    for name, service in config["services"].items():
        for secret in service.get("secrets", []):
            holders.setdefault(secret["source"], set()).add(name)
    wanted: dict[str, set[str]] = {} if DAPR_FILE not in files else {
        "ledger_password": {"api", "worker", "postgres"},
        "broker_password": {"redis"},
        "broker_redis": {"redis"},
        "broker_dapr": {"api-daprd", "worker-daprd"},
    }  # fmt: skip
    assert {name: row for name, row in holders.items() if name.startswith(("ledger", "broker"))} == wanted
