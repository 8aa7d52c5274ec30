"""What a real cluster (1.36.3) said of broken workloads (tests/cluster/broken.py): each is named, and nothing else."""

import json
from pathlib import Path

from ai102.cluster.facts import Facts
from ai102.cluster.objects import facts_from
from ai102.cluster.rules import findings
from tests.cluster import broken
from tests.cluster.broken import SYMPTOMS

# `kubectl get KINDS --output=json`, without the fields that nothing reads.
FILE = Path(__file__).parent / "recorded" / "symptoms.json"
NOW = 1795922940.0  # 2026-11-29 03:29 UTC


def recorded() -> Facts:
    items = json.loads(FILE.read_text(encoding="utf-8"))["items"]
    names = [item["metadata"]["name"] for item in items if item["kind"] == "Pod"]
    last_lines = {(name, "crash"): broken.LAST_LINE for name in names if name.startswith("crash-")}
    return facts_from(items, namespace=broken.NAMESPACE, context="", now_s=NOW, last_lines=last_lines)


def test_every_symptom_is_named_and_nothing_else() -> None:
    symptoms = {name: each for name, each in SYMPTOMS.items() if each[0] != "certificate_ends"}  # no Secret is kept
    said = {(each.rule, each.about): each.why for each in findings(recorded())}
    assert said.keys() == {(rule, about) for rule, about, _ in symptoms.values()}
    assert [name for name, (rule, about, why) in symptoms.items() if why not in said[rule, about]] == []
