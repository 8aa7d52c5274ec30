"""What k8s/ takes from the contract is committed as it is derived, and its figures follow from measurements."""

import os
import stat
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ai102 import contract
from ai102.cli.main import app
from ai102.contract.scaling import Scaling
from ai102.errors import UserError
from ai102.gateway import policy as gateway_policy
from ai102.kubernetes import footprint
from ai102.kubernetes.footprint import Footprint
from ai102.kubernetes.measure import memory_mib
from ai102.kubernetes.patches import deployment_patch
from ai102.kubernetes.policy import policy_for_cluster
from ai102.kubernetes.render import BASE, outdated, write
from ai102.kubernetes.rules import prometheus_rule
from ai102.kubernetes.scaling import METRICS, adapter_config, autoscaler_patch, scaled_object_patch, thresholds_of
from ai102.kubernetes.sizes import DRAIN_S, min_available, sizes_of

ROOT = Path(__file__).parent.parent.parent
CONTRACT = contract.load(ROOT / "models.toml")
FOOTPRINT = Footprint(server_cores=2, seconds_to_ready=(4.0, 12.5, 3.0), memory_mib=1000.0)
GATEWAY = (ROOT / "gateway.toml").read_text(encoding="utf-8")


def test_the_committed_files_are_those_of_the_contract() -> None:
    assert [str(path.relative_to(ROOT)) for path in outdated(ROOT)] == []


@pytest.mark.parametrize(
    ("fewest", "used_percent", "stay"), [(3, 60, 2), (3, 90, 2), (2, 60, 1), (1, 60, 0), (12, 60, 8), (10, 10, 1)]
)
def test_so_many_replicas_stay_that_they_carry_the_load_of_all(fewest: int, used_percent: float, stay: int) -> None:
    assert min_available(Scaling(min_replicas=fewest, max_replicas=12, used_percent=used_percent)) == stay


def test_figures_follow_from_what_was_measured() -> None:
    whole, quarter = (sizes_of(CONTRACT, FOOTPRINT, CONTRACT.scaling, share) for share in (1.0, 0.25))
    assert (whole.cpu_millicores, quarter.cpu_millicores) == (2000, 500)
    assert (whole.memory_mib, quarter.memory_mib) == (1280, 1280)  # 1.25 times, in steps of 128
    assert (whole.start_s, quarter.start_s) == (75, 300)  # six times the slowest, at least a minute
    assert (whole.busy_threshold, quarter.busy_threshold) == (0.6, 0.15)
    assert whole.grace_s > DRAIN_S + 10


def test_a_patch_is_yaml_with_those_figures() -> None:
    sizes = sizes_of(CONTRACT, FOOTPRINT, CONTRACT.scaling)
    spec = yaml.safe_load(deployment_patch(sizes))["spec"]["template"]["spec"]
    (triton,) = spec["containers"]
    assert triton["resources"]["limits"] == {"cpu": "2000m", "memory": "1280Mi"} == triton["resources"]["requests"]
    assert triton["startupProbe"] == {"failureThreshold": 75}


def test_keda_and_the_adapter_ask_the_same_and_have_the_same_thresholds() -> None:
    thresholds = thresholds_of(sizes_of(CONTRACT, FOOTPRINT, CONTRACT.scaling, 0.25))
    triggers = [row["metadata"] for row in yaml.safe_load(scaled_object_patch(thresholds))["spec"]["triggers"]]
    assert [trigger["threshold"] for trigger in triggers] == ["0.15", "1"]
    external = [row["external"] for row in yaml.safe_load(autoscaler_patch(thresholds))["spec"]["metrics"]]
    assert [row["target"] for row in external] == [
        {"type": "AverageValue", "averageValue": trigger["threshold"]} for trigger in triggers
    ]
    config = yaml.safe_load(yaml.safe_load(adapter_config("monitoring"))["data"]["config.yaml"])
    asked = {rule["name"]["as"]: rule["metricsQuery"] for rule in config["externalRules"]}
    assert [asked[row["metric"]["name"]] for row in external] == [trigger["query"] for trigger in triggers]
    assert list(asked) == list(METRICS)


def test_a_pod_drains_as_long_as_its_hook_sleeps() -> None:
    deployment = yaml.safe_load((ROOT / BASE / "triton/triton.deployment.yaml").read_text(encoding="utf-8"))
    (triton,) = deployment["spec"]["template"]["spec"]["containers"]
    assert triton["lifecycle"]["preStop"] == {"sleep": {"seconds": DRAIN_S}}


def test_the_policy_keeps_rights_and_limits_and_names_services() -> None:
    text = policy_for_cluster(GATEWAY, CONTRACT.scaling, collector="http://collector:4318")
    assert 'discovery = "dns"' in text
    assert 'service = "triton-replicas.ai102.svc.cluster.local"' in text
    assert 'jwks = "http://issuer:8091/.well-known/jwks.json"' in text
    assert "127.0.0.1:" not in text
    assert text.count("[[grants]]") == GATEWAY.count("[[grants]]")
    assert 'http = "triton.ai102.svc.cluster.local:8000"' in policy_for_cluster(
        GATEWAY, CONTRACT.scaling, discovery="mesh"
    )


@pytest.mark.parametrize("path", ["base/contract", "components/traces", "components/mesh", "overlays/dev"])
def test_the_gateway_takes_the_policy_of_the_cluster(path: str) -> None:
    pytest.importorskip(
        "ai102.gateway.discovery", reason="a gateway that finds replicas by DNS is not in this checkout"
    )
    assert gateway_policy.load(ROOT / "k8s" / path / "gateway.toml").listen.internal == "0.0.0.0:8082"


def test_the_rules_become_one_resource(tmp_path: Path) -> None:
    rules = sorted((ROOT / "monitoring" / "rules").glob("*.yaml"))
    groups = yaml.safe_load(prometheus_rule(rules))["spec"]["groups"]
    assert groups == [group for file in rules for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    odd = tmp_path / "odd.yaml"
    odd.write_text("key: 1\ngroups:\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"odd.yaml: does not begin with comments and `groups:`"):
        prometheus_rule([odd])


@pytest.mark.parametrize("content", ["", "[]", '{"seconds_to_ready": []}', '{"seconds_to_ready": [1]}'])
def test_a_footprint_of_another_form_is_one_line(content: str, tmp_path: Path) -> None:
    file = tmp_path / "footprint.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"footprint.json: not what `ai102 kubernetes measure` writes"):
        footprint.load(file)


def test_the_check_names_what_is_outdated(tmp_path: Path) -> None:
    for name in (
        "models.toml",
        "masking.toml",
        "gateway.toml",
        "loadtest/footprint.json",
        "monitoring/rules/models.yaml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    words = ["kubernetes", "render", "--contract", str(tmp_path / "models.toml")]
    missing = CliRunner().invoke(app, [*words, "--check"])
    assert missing.exit_code == 1
    assert "outdated k8s/base/triton/sizes.patch.yaml\n" in missing.stdout
    assert CliRunner().invoke(app, words).exit_code == 0
    assert CliRunner().invoke(app, [*words, "--check"]).exit_code == 0
    assert write(tmp_path) == []


def test_more_at_least_than_at_most_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "models.toml").read_text(encoding="utf-8").replace("max_replicas = 12", "max_replicas = 2")
    (tmp_path / "models.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"min_replicas is 3 but max_replicas is 2"):
        contract.load(tmp_path / "models.toml")


def test_secrets_are_made_once_and_printed_for_kubectl(tmp_path: Path) -> None:
    words = ["kubernetes", "secrets", "--name", "ai102.example.com", "--folder", str(tmp_path / "secrets")]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    secrets = {row["metadata"]["name"]: set(row["data"]) for row in yaml.safe_load_all(first.stdout)}
    assert secrets == {
        "gateway-secret": {"secret"},
        "gateway-certificate": {"tls-combined.pem"},
        "seal-keys": {"active", "cluster.key"},
        "jobs-ledger": {"password"},
        "jobs-broker": {"password", "redis.conf", "dapr.json"},
        "jobs-callbacks": {"callback.key"},
    }
    assert CliRunner().invoke(app, words).stdout == first.stdout
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert first.stdout.count("namespace: ai102\n") == 6


def test_memory_counts_what_processes_of_a_group_hold() -> None:
    assert memory_mib(os.getpgid(0)) > 10
