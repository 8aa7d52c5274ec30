"""Lines of every server become documents of one schema, which the index's template has types for."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ai102.logs.origin import origin_of
from ai102.logs.parsing import document_from_line
from ai102.logs.ship.index import packaged
from tests.access_log.rows import GOALS_MS, HAPROXY_REST, OUTCOMES
from tests.logs.flat import flat
from tests.logs.real_lines import REAL, Real

READ_AT = datetime(2026, 11, 28, 19, 0, tzinfo=UTC)
IN_ALL = {"ecs.version": "8.11.0", "event.kind": "event"}
JSON_TYPES = {"keyword": str, "text": str, "long": int, "integer": int, "float": float, "date_nanos": str}


def document(line: str, **origin: Any) -> dict[str, Any]:
    return flat(document_from_line(line, origin=origin, read_at=READ_AT))


def mapped_types() -> dict[str, str]:
    """The type of every field in the template."""
    fields: dict[str, str] = {}

    def walk(properties: dict[str, Any], prefix: str) -> None:
        for name, facts in properties.items():
            if "properties" in facts:
                walk(facts["properties"], f"{prefix}{name}.")
            else:
                fields[prefix + name] = facts["type"]

    walk(packaged("index-template.json")["template"]["mappings"]["properties"], "")
    return fields


@pytest.mark.parametrize("real", REAL, ids=lambda real: real.name)
def test_a_line_of_a_real_server_becomes_its_document(real: Real) -> None:
    assert document(real.line) == IN_ALL | real.document


@pytest.mark.parametrize("real", REAL, ids=lambda real: real.name)
def test_every_field_has_its_type_in_the_template(real: Real) -> None:
    types = mapped_types()
    for name, value in document(real.line).items():
        [value] = value if isinstance(value, list) else [value]
        assert isinstance(value, JSON_TYPES[types[name]]), name


def test_a_row_with_a_trace_has_its_id() -> None:
    row = json.loads(REAL[0].line) | {"trace_id": "0af7651916cd43dd8448eb211c80319c", "sampled": True}
    fields = document(json.dumps(row))
    assert (fields["trace.id"], fields["labels.sampled"]) == ("0af7651916cd43dd8448eb211c80319c", "true")


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_document_says_of_a_call_what_the_gateways_metrics_count(name: str) -> None:
    row, change, outcome = OUTCOMES[name]
    line = json.dumps({"address": "127.0.0.1"} | row | change)
    made = flat(document_from_line(line, origin={}, read_at=READ_AT, goals_ms=GOALS_MS))
    assert made["labels.outcome"] == outcome


def test_without_the_contract_no_pipeline_is_known() -> None:
    line = json.dumps({"address": "127.0.0.1"} | HAPROXY_REST | {"status": 404})
    outcomes = [
        flat(document_from_line(line, origin={}, read_at=READ_AT, goals_ms=goals_ms))["labels.outcome"]
        for goals_ms in (GOALS_MS, {})
    ]
    assert outcomes == ["failed", "client_error"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "{}",
        '{"a": 1}',
        "[1, 2]",
        '{"time": 5, "protocol": [], "address": {}, "status": "x", "refused": null}',
        '{"time": 5, "id": [], "protocol": [], "address": {}, "status": "x", "refused": null}',
        '{"time": "no time", "request_id": 1, "route": 2, "status": null, "ms": "x"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "E1399 99:99:99.000000 1 x.cc:1] no such day",
        'E1128 18:00:00.000000 1 x.cc:1] "an escape that is none: \\q"',
        "\x00\ud800 half a character",
    ],
)
def test_a_line_of_no_form_is_still_one_document(line: str) -> None:
    fields = document(line)
    assert fields["@timestamp"].startswith("2026-11-28T1")
    types = mapped_types()
    assert {name for name in fields if name not in types} == set()


def test_a_row_of_an_unknown_program_keeps_all_of_itself() -> None:
    line = '{"ts": "2026-11-28T10:00:00Z", "level": "warn", "msg": "slow", "rows": 7}'
    fields = document(line, **{"service.name": "collector"})
    assert (fields["message"], fields["log.level"], fields["event.original"]) == ("slow", "warn", line)
    assert (fields["service.name"], fields["@timestamp"]) == ("collector", "2026-11-28T10:00:00.000000Z")


@pytest.mark.parametrize(
    ("now", "line_day", "year"),
    [
        (datetime(2027, 1, 1, 0, 0, 5, tzinfo=UTC), "1231", 2026),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), "1231", 2026),
        (datetime(2028, 3, 1, tzinfo=UTC), "0229", 2028),
    ],
)
def test_the_year_that_triton_leaves_out_is_the_nearest(now: datetime, line_day: str, year: int) -> None:
    line = f'I{line_day} 23:59:58.000000 1 server.cc:1] "x"'
    made = document_from_line(line, origin={}, read_at=now)
    assert made["@timestamp"] == f"{year}-{line_day[:2]}-{line_day[2:]}T23:59:58.000000Z"


def test_a_time_in_the_future_or_before_all_logs_is_not_believed() -> None:
    for stated in (READ_AT + timedelta(days=400), datetime(1970, 1, 1, tzinfo=UTC)):
        assert document(json.dumps({"time": stated.isoformat()}))["@timestamp"] == "2026-11-28T19:00:00.000000Z"


POD_ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (
            f"/var/log/containers/triton-7d9c-x2x_models_server-{POD_ID}.log",
            {
                "orchestrator.namespace": "models",
                "orchestrator.resource.name": "triton-7d9c-x2x",
                "container.name": "server",
                "container.id": POD_ID,
                "service.name": "server",
            },
        ),
        (
            "/var/log/pods/models_triton-7d9c-x2x_8a2f0b6e-0b7e-4b0e-9a3e-0d5d2b1f6a11/server/0.log",
            {
                "orchestrator.namespace": "models",
                "orchestrator.resource.name": "triton-7d9c-x2x",
                "orchestrator.resource.id": "8a2f0b6e-0b7e-4b0e-9a3e-0d5d2b1f6a11",
                "container.name": "server",
                "service.name": "server",
            },
        ),
        ("/srv/logs/gateway.access.log", {"service.name": "gateway"}),
    ],
)
def test_the_path_says_who_wrote(path: str, fields: dict[str, str]) -> None:
    origin = {name: value for name, value in origin_of(Path(path), "host1").items() if value}
    assert origin.items() >= (fields | {"host.name": "host1", "log.file.path": path}).items()


def test_docker_says_which_container_and_service(tmp_path: Path) -> None:
    folder = tmp_path / POD_ID
    folder.mkdir()
    config = {
        "Name": "/ai102-gateway-1",
        "Config": {"Image": "ai102/gateway", "Labels": {"com.docker.compose.service": "gateway"}},
    }
    (folder / "config.v2.json").write_text(json.dumps(config), encoding="utf-8")
    fields = origin_of(folder / f"{POD_ID}-json.log", "host1")
    assert (fields["container.name"], fields["service.name"]) == ("ai102-gateway-1", "gateway")
