"""Fluent Bit sends the spool to OpenSearch: the same documents as our own shipper, under the same ids."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ai102.host.child import Child
from ai102.logs.follow.run import remove_read
from ai102.logs.follow.spool import segments
from ai102.logs.ship.index import PREFIX, Index
from tests.gateway.conftest import wait_until
from tests.logs.conftest import Follow, documents
from tests.logs.opensearch_node import Node, running_node
from tests.logs.real_lines import REAL

ONE_MICROSECOND = timedelta(microseconds=1)
FILE = Path(__file__).parent.parent.parent / "monitoring" / "fluent-bit" / "fluent-bit.yaml"
needs_fluent_bit = pytest.mark.skipif(
    shutil.which("fluent-bit") is None, reason="fluent-bit is not on PATH: no package of Debian or PyPI carries it"
)


def test_the_file_names_our_spool_our_index_and_our_ids() -> None:
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    [tail], [output] = content["pipeline"]["inputs"], content["pipeline"]["outputs"]
    assert tail["path"].endswith("/masked-*.jsonl")
    assert tail["parser"] == content["parsers"][0]["name"]
    assert (output["logstash_prefix"], output["id_key"]) == (PREFIX, "$event['id']")


class Shipping:
    """Fluent Bit, to be killed and started again with the state that it has."""

    def __init__(self, folder: Path, spool: Path, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self.state = folder / "state"
        self.state.mkdir()
        self._log = folder / "fluent-bit.log"
        self._environment = os.environ | {
            "AI102_SPOOL": str(spool),
            "FLUENT_BIT_STATE": str(self.state),
            "OPENSEARCH_HOST": host,
            "OPENSEARCH_PORT": port,
        }

    def start(self) -> Child:
        with self._log.open("ab") as log:
            return Child(
                ["fluent-bit", "-c", str(FILE)],
                stdout=log,
                stderr=subprocess.STDOUT,
                grace_s=2,
                environment=self._environment,
            )

    def check(self) -> subprocess.CompletedProcess[str]:
        command = ["fluent-bit", "--dry-run", "-c", str(FILE)]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running_node(tmp_path / "opensearch") as running:
        with Index(running.url) as index:
            index.put_template()
        yield running


def stored(node: Node) -> dict[str, dict[str, Any]]:
    answer = httpx.post(f"{node.url}/{PREFIX}-*/_search", json={"size": 10_000}, timeout=60).json()
    return {hit["_id"]: hit["_source"] for hit in answer["hits"]["hits"]}


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.alone
@needs_fluent_bit
def test_the_same_documents_arrive_through_a_kill_and_what_was_read_is_removed(
    node: Node, follow: Follow, tmp_path: Path
) -> None:
    log, spool = tmp_path / "a.log", tmp_path / "spool"
    shipping = Shipping(tmp_path, spool, node.url)
    assert shipping.check().returncode == 0
    following = follow(str(log), segment_bytes=1 << 16)
    for _ in range(20):
        with log.open("a", encoding="utf-8") as file:
            file.writelines(f"{real.line}\n" for real in REAL)
        following.read()
    running = shipping.start()
    try:
        wait_until(lambda: node.count() > 0, "the first documents", 60)
    finally:
        running.kill()
        running.reap()
    running = shipping.start()
    try:
        wait_until(lambda: node.count() == 20 * len(REAL), "all documents", 60)
    finally:
        running.kill()
        running.reap()
    expected, arrived = {document["event"]["id"]: document for document in documents(spool)}, stored(node)
    assert {name: timeless(document) for name, document in arrived.items()} == {
        name: timeless(document) for name, document in expected.items()
    }
    # Fluent Bit counts a fraction of a second in floating point.
    late = [name for name in expected if abs(moment_of(arrived[name]) - moment_of(expected[name])) > ONE_MICROSECOND]
    assert late == []
    remove_read(spool, shipping.state / "tail.db")
    assert len(segments(spool)) == 1


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    return document | {"@timestamp": ""}


def moment_of(document: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(document["@timestamp"][:26])
