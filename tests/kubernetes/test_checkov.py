"""checkov's policies for Kubernetes hold for overlays and canaries; an exception stands, with its reason, there."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.kustomized import K8S, OVERLAYS, ROOT, in_order, kubectl_or_skip, text_of, with_components

# In no overlay: each needs Flagger.
CANARIES = ("canary", "canary-blue-green")

# checkov pins other versions of our dependencies, so it lives in an environment of its own.
INSTALL = "python3 -m venv build/checkov && build/checkov/bin/pip install checkov"


def checkov_or_skip() -> str:
    beside = ROOT / "build" / "checkov" / "bin" / "checkov"
    found = str(beside) if beside.exists() else shutil.which("checkov")
    if found is None:
        pytest.skip(f"no checkov: {INSTALL}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OVERLAYS, *CANARIES])
def test_an_overlay_passes_the_policies_of_checkov(name: str, tmp_path: Path) -> None:
    checkov, _ = checkov_or_skip(), kubectl_or_skip()
    file = tmp_path / "all.yaml"
    if name in CANARIES:
        text = yaml.safe_dump_all(with_components("base", in_order([name])))
    else:
        text = text_of(K8S / "overlays" / name)
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [checkov, "--framework", "kubernetes", "--skip-download", "--compact", "--output", "json", "--file", str(file)],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "LOG_LEVEL": "ERROR", "CHECKOV_RUN_SCA_PACKAGE_SCAN_V2": "false"},
    )  # fmt: skip
    report = json.loads(done.stdout)
    failed = {f"{row['check_id']} {row['resource']}: {row['check_name']}" for row in report["results"]["failed_checks"]}
    assert failed == set()
    assert report["summary"]["passed"] > 100
    reasons = [row["check_result"]["suppress_comment"] for row in report["results"]["skipped_checks"]]
    assert all(len(reason.split()) > 3 for reason in reasons)
