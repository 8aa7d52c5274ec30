"""`.gitlab-ci.yml`: which jobs run for which change, what each waits for, and what a log may not have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ci.local import PIPELINE, ROOT, VARIABLES, Checkout, leaks
from tests.test_documents import ai102 as ai102
from tests.test_documents import problem_with

TESTS = {"lint", "contract-drift", "fast-tests", "lint-manifests", "lint-repository", "int8-gate", "smoke"}
LONG = {"server-tests"}
STAGING = {"staging", "staging-smoke", "staging-load", "staging-gate"}
BY_HAND = {"production", "production-manifests", "production-rollback"}
MODELS = {"networks", "models-image", *TESTS, *LONG, *STAGING, *BY_HAND}
CHANGES = {
    "models alone": (["models.toml"], MODELS),
    "a recipe of calibration": (["calibration/recipes/digits.toml"], MODELS),
    "manifests": (["k8s/overlays/staging/kustomization.yaml"], MODELS),
    "code beside the server": (["tools/ai102/x.py"], MODELS | {"other-images"}),
    "the server's code": (["tools/ai102_runtime/x.py"], MODELS | {"other-images", "server-image"}),
    "held-out samples": (["calibration/sets/digits.toml"], MODELS | {"other-images"}),
    "tests": (["tests/x.py"], MODELS),
    "pinned versions": (["constraints.txt"], MODELS | {"other-images", "server-image", "packages"}),
    "documents": (["docs/int8.md", "README.md"], {"documents"}),
    "documents and models": (["README.md", "models.toml"], MODELS),
}
KEY = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIG9uZSBvZiBhIHRlc3Q\n-----END PRIVATE KEY-----\n"
KUBECONFIG = "apiVersion: v1\nusers: [{name: ci, user: {token: a-long-token-of-a-test}}]\n"
GATE = "cluster forward --namespace ai102-staging .venv/bin/ai102 release judge"
SECRETS = {"AI102_RELEASE_KEY": KEY, "KUBECONFIG": KUBECONFIG}


slow = pytest.mark.slow  # each run of gitlab-ci-local takes seconds


def pipeline() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / PIPELINE).read_text(encoding="utf-8"))
    return document


def scripts() -> dict[str, list[str]]:
    """By job, its commands."""
    jobs = {name: each for name, each in pipeline().items() if isinstance(each, dict) and "script" in each}
    return {name: [*each["script"], *each.get("after_script", ())] for name, each in jobs.items()}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout.new(tmp_path)


@pytest.fixture
def configured(checkout: Checkout) -> Checkout:
    """With the variables of a project, among them two files that are secret."""
    files = {name: {"type": "file", "values": {"*": text}} for name, text in SECRETS.items()}
    spaces = {"values": {"staging": "ai102-staging", "production": "ai102"}}
    variables = {"REGISTRY": "reg.example:5000", "NAMESPACE": spaces, **files}
    (checkout.folder / VARIABLES).write_text(yaml.safe_dump(variables), encoding="utf-8")
    return checkout


@slow
@pytest.mark.parametrize(("files", "jobs"), CHANGES.values(), ids=CHANGES)
def test_the_jobs_of_a_change(checkout: Checkout, files: list[str], jobs: set[str]) -> None:
    checkout.change(*files)
    assert set(checkout.jobs()) == jobs


@slow
def test_on_another_branch_nothing_is_pushed_or_deployed(checkout: Checkout) -> None:
    checkout.branch("topic")
    checkout.change("constraints.txt")
    assert set(checkout.jobs()) == {"packages", "networks", *TESTS, *LONG}


@slow
def test_everything_runs_where_a_person_says_so(checkout: Checkout) -> None:
    jobs = checkout.jobs("--variable", "EVERYTHING=yes")
    assert set(jobs) == MODELS | {"packages", "server-image", "other-images"}


@slow
def test_production_waits_for_a_person_and_for_all_tests(checkout: Checkout) -> None:
    checkout.change("models.toml")
    jobs = checkout.jobs()
    assert {name for name, each in jobs.items() if each["when"] == "manual"} == BY_HAND
    assert waited_for(jobs, "production") >= {*TESTS, *LONG, *STAGING}
    assert {*TESTS, "models-image"} <= waited_for(jobs, "staging")
    assert LONG.isdisjoint(waited_for(jobs, "staging"))


def waited_for(jobs: dict[str, dict[str, Any]], name: str) -> set[str]:
    """The jobs that must pass before."""
    own = {need["job"] if isinstance(need, dict) else need for need in jobs[name].get("needs") or ()} & set(jobs)
    return own.union(*(waited_for(jobs, each) for each in own))


@slow
def test_a_run_calls_the_commands_in_their_order_and_no_log_has_a_secret(configured: Checkout) -> None:
    configured.change("models.toml")
    done = configured.run("--manual", "production")
    assert done.status == 0, done.text
    order = [
        "ai102 calibrate",
        "make engine",
        "ai102 image push reg.example:5000 models",
        "ai102 kubernetes apply k8s/overlays/staging --namespace ai102-staging --pushed build/pushed ",
        "ai102 cluster status",
        "ai102 release promote r-123456789abc --back --namespace ai102 --why ",
    ]
    places = [[call.startswith(each) for call in done.calls].index(True) for each in order]
    assert places == sorted(places)
    logs = configured.folder / ".gitlab-ci-local" / "output"
    assert len(list(logs.glob("*.log"))) == len(MODELS - {"production-manifests", "production-rollback"})
    assert leaks(logs, SECRETS) == []


def test_a_secret_in_a_log_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"$ deploy\n{KEY}", encoding="utf-8")
    (tmp_path / "b.log").write_text("AI102_RELEASE_KEY is a file\n", encoding="utf-8")
    assert leaks(tmp_path, SECRETS) == ["a.log: AI102_RELEASE_KEY"]


@slow
@pytest.mark.parametrize(
    ("fails", "status", "last"),
    [
        ("engine", 3, "int8-gate"),
        ("unit", 1, "fast-tests"),
        (GATE, 1, "staging-gate"),
        (GATE, 3, "staging-gate"),
    ],
    ids=["INT8 over its budget", "a test", "the quality gate", "an undecided gate"],
)
def test_what_fails_stops_before_production(configured: Checkout, fails: str, status: int, last: str) -> None:
    configured.change("models.toml")
    done = configured.run("--manual", "production", fails=fails, status=status)
    assert done.status == 1
    assert re.search(rf"FAIL.*{last}", done.text), done.text
    assert not [call for call in done.calls if call.startswith("ai102 release promote")]
    if last != "staging-gate":
        assert not [call for call in done.calls if call.startswith("ai102 kubernetes apply")]


def test_no_script_prints_its_commands_with_their_values() -> None:
    lines = [line for each in scripts().values() for line in each]
    assert [line for line in lines if re.search(r"\bset -\w*x|\bbash -\w*x|\benv\b|\bprintenv\b", line)] == []
    assert "CI_DEBUG_TRACE" not in (ROOT / PIPELINE).read_text(encoding="utf-8")


def test_every_command_of_ours_exists_with_its_options(ai102: Any) -> None:
    commands = re.findall(
        r"\.venv/bin/ai102 (.*?)(?= \.venv/| make |[>)]|$)",
        "\n".join(line for each in scripts().values() for line in each),
        re.M,
    )
    assert len(commands) > 15
    assert [problem for command in commands if (problem := problem_with(ai102, command))] == []


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for each in scripts().values() for line in each for name in re.findall(r"\bmake ([a-z0-9-]+)", line)}
    assert named - targets == set()
    assert len(named) >= 7


def test_files_that_decide_are_there() -> None:
    """But for those that are not committed yet, each pattern matches a file."""
    patterns = {pattern for each in pipeline()[".files"].values() for pattern in each}
    assert sorted(pattern for pattern in patterns if not any(ROOT.glob(pattern))) == []
