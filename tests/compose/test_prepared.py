"""What compose.yaml needs: a policy with the containers' addresses, private secrets, a .env without any."""

import json
import os
import re
import stat
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from ai102 import contract
from ai102.compose import dapr
from ai102.compose.dapr import DAPR_FILE, DAPR_PARTS_FILE, Dapr
from ai102.compose.eyes import PARTS, PARTS_FILE, PUBLISHED_FILE, Eyes
from ai102.compose.policy import policy_for_stack
from ai102.compose.secrets import FOLDER, OF_GROUP, SOURCES, make_secrets
from ai102.compose.settings import COLLECTOR, FILE, Settings, subnet_from, user_ids, write_settings
from ai102.compose.volumes import models_volume
from ai102.errors import UserError
from ai102.gateway import policy
from ai102.serve.container import compose_values

ROOT = Path(__file__).parent.parent.parent
SERVER = compose_values(contract.load(ROOT / "models.toml"), "256m")
SETTINGS = Settings("0.2.0", "ai102-models-0123456789ab", "10.9.8", 1000, 1000, 8, server=SERVER)
IMAGES = {part: f"ai102/part-{part}:1" for part in PARTS}
WITH_EYES = replace(SETTINGS, eyes=Eyes(IMAGES, is_published=True))
OF_JOBS = {part: f"ai102/part-{part}:1" for part in dapr.PARTS}
WITH_ALL = replace(WITH_EYES, dapr=Dapr(OF_JOBS))


@pytest.fixture
def stack_policy(tmp_path: Path) -> policy.Gateway:
    path = tmp_path / "gateway.toml"
    path.write_text(policy_for_stack((ROOT / "gateway.toml").read_text(encoding="utf-8"), SETTINGS), encoding="utf-8")
    return policy.load(path)


def test_roles_grants_and_limits_are_those_of_gateway_toml(stack_policy: policy.Gateway) -> None:
    own = policy.load(ROOT / "gateway.toml")
    assert (stack_policy.roles, stack_policy.grants, stack_policy.limits) == (own.roles, own.grants, own.limits)


def test_replicas_services_and_issuer_have_the_addresses_of_the_containers(stack_policy: policy.Gateway) -> None:
    assert [(row.name, row.http, row.grpc) for row in stack_policy.triton.replicas] == [
        ("a", "10.9.8.4:8000", "10.9.8.4:8001"),
        ("b", "10.9.8.5:8000", "10.9.8.5:8001"),
    ]
    assert stack_policy.services == policy.Services(api="10.9.8.20:8090", issuer="10.9.8.36:8091")
    assert stack_policy.issuers[0].jwks == "http://10.9.8.36:8091/.well-known/jwks.json"
    assert stack_policy.issuers[0].revoked == "http://10.9.8.36:8091/auth/revoked"


def test_only_the_apis_network_reaches_the_listener_without_a_token(stack_policy: policy.Gateway) -> None:
    assert stack_policy.listen.internal == "10.9.8.19:8082"


def test_an_issuer_of_yours_keeps_its_address() -> None:
    text = (
        (ROOT / "gateway.toml")
        .read_text(encoding="utf-8")
        .replace("http://127.0.0.1:8091", "https://login.example.com")
    )
    assert policy_for_stack(text, SETTINGS).count("https://login.example.com/") == 2


def test_secrets_are_made_once_and_only_their_reader_may_read_them(tmp_path: Path) -> None:
    first = make_secrets(tmp_path, os.getuid(), os.getgid())
    modes = {stat.S_IMODE((tmp_path / FOLDER / name).stat().st_mode) & 0o007 for name in SOURCES}
    assert (sorted(first), make_secrets(tmp_path, os.getuid(), os.getgid()), modes) == (sorted(SOURCES), [], {0})


def test_env_holds_no_secret_and_all_that_compose_yaml_takes(tmp_path: Path) -> None:
    make_secrets(tmp_path, os.getuid(), os.getgid())
    write_settings(tmp_path, SETTINGS)
    text = (tmp_path / FILE).read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(AI102_\w+)\}", (ROOT / "compose.yaml").read_text(encoding="utf-8")))
    secret = (tmp_path / FOLDER / "gateway_secret").read_text(encoding="utf-8").strip()
    assert wanted - set(re.findall(r"^(\w+)=", text, re.M)) == set()
    assert secret not in text


def test_jobs_secrets_are_read_by_the_group_that_their_services_get(tmp_path: Path) -> None:
    make_secrets(tmp_path, os.getuid(), os.getgid())
    modes = {stat.S_IMODE((tmp_path / FOLDER / name).stat().st_mode) for name in OF_GROUP}
    files = [DAPR_FILE, DAPR_PARTS_FILE]
    texts = "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
    assert (modes, stat.S_IMODE((tmp_path / FOLDER).stat().st_mode)) == ({0o440}, 0o700)
    assert set(re.findall(r"secrets/(\w+)}", texts)) == set(OF_GROUP)


def test_redis_its_clients_and_the_sidecars_are_given_the_same_password(tmp_path: Path) -> None:
    make_secrets(tmp_path, os.getuid(), os.getgid())
    text = {name: (tmp_path / FOLDER / name).read_text(encoding="ascii") for name in OF_GROUP}
    password = text["broker_password"].strip()
    assert text["broker_redis"] == f"requirepass {password}\n"
    assert json.loads(text["broker_dapr"]) == {"redis-password": password}
    assert password != text["ledger_password"].strip()


def environment_of(settings: Settings, folder: Path) -> dict[str, str]:
    write_settings(folder, settings)
    lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


@pytest.mark.parametrize(
    ("settings", "files"),
    [
        (SETTINGS, []),
        (replace(SETTINGS, dapr=Dapr()), [DAPR_FILE]),
        (replace(SETTINGS, dapr=Dapr(OF_JOBS)), [DAPR_FILE, DAPR_PARTS_FILE]),
        (replace(SETTINGS, eyes=Eyes()), []),
        (replace(SETTINGS, eyes=Eyes(), dapr=Dapr()), [DAPR_FILE]),
        (WITH_ALL, [PARTS_FILE, PUBLISHED_FILE, DAPR_FILE, DAPR_PARTS_FILE]),
    ],
)
def test_every_command_of_compose_knows_the_files_that_were_chosen(
    settings: Settings, files: list[str], tmp_path: Path
) -> None:
    environment = environment_of(settings, tmp_path)
    texts = "".join((ROOT / file).read_text(encoding="utf-8") for file in ["compose.yaml", *files])
    wanted = set(re.findall(r"\$\{(AI102_\w+)\}", texts)) - {"AI102_EYES_BIND"}
    assert environment.get("COMPOSE_FILE", "compose.yaml").split(":") == ["compose.yaml", *files]
    assert environment.get("COMPOSE_PROFILES", "") == ("eyes" if settings.eyes else "")
    assert wanted - set(environment) == set()


@pytest.fixture
def environment_with_eyes(tmp_path: Path) -> dict[str, str]:
    return environment_of(WITH_EYES, tmp_path)


def test_with_eyes_every_command_of_compose_knows_the_profile_and_the_files(
    environment_with_eyes: dict[str, str],
) -> None:
    files = environment_with_eyes["COMPOSE_FILE"].split(":")
    wanted = set(re.findall(r"\$\{(AI102_PART_\w+)\}", (ROOT / PARTS_FILE).read_text(encoding="utf-8")))
    assert environment_with_eyes["COMPOSE_PROFILES"] == "eyes"
    assert files == ["compose.yaml", PARTS_FILE, PUBLISHED_FILE]
    assert {environment_with_eyes[name] for name in wanted} == set(IMAGES.values())


def test_with_eyes_gateway_api_and_replicas_send_their_spans_to_the_collector(
    environment_with_eyes: dict[str, str],
) -> None:
    policy_text = policy_for_stack((ROOT / "gateway.toml").read_text(encoding="utf-8"), WITH_EYES)
    arguments = [environment_with_eyes[f"AI102_TRITON_TRACES_{name}"] for name in ("A", "B")]
    assert tomllib.loads(policy_text)["traces"]["collector"] == COLLECTOR == environment_with_eyes["AI102_TRACES"]
    assert all(f"opentelemetry,url={COLLECTOR}/v1/traces" in text for text in arguments)
    assert ["instance.id=a" in arguments[0], "instance.id=b" in arguments[1]] == [True, True]


def test_an_env_file_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("MINE=1\n")
    with pytest.raises(UserError, match="move it away"):
        write_settings(tmp_path, SETTINGS)


def test_root_starts_programs_that_are_not_root_and_others_start_their_own() -> None:
    assert (user_ids(0, 0), user_ids(1001, 100)) == ((1000, 1000), (1001, 100))


@pytest.mark.parametrize("subnet", ["10.0", "10.0.0.0/24", "a.b.c", "10.0.300"])
def test_a_subnet_that_is_none_is_one_line(subnet: str) -> None:
    with pytest.raises(UserError, match="write the first three numbers"):
        subnet_from({"AI102_SUBNET": subnet})


def test_the_volume_of_the_models_is_named_by_the_images_digest() -> None:
    assert models_volume("sha256:0123456789abcdef") == "ai102-models-0123456789ab"


def test_the_policy_that_was_generated_says_so() -> None:
    text = policy_for_stack((ROOT / "gateway.toml").read_text(encoding="utf-8"), SETTINGS)
    assert text.splitlines()[0].startswith("# Generated by `ai102 compose prepare`")
    assert tomllib.loads(text)["tls"]["certificate"] == "/run/secrets/gateway_certificate"
