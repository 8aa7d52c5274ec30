"""The choices at the top of a dashboard."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import DatasourceVariable, QueryVariable
from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh, VariableSort

from ai102.dashboards.styles import DATASOURCE

ALL = VariableOption(selected=True, text="All", value="$__all")


def datasource() -> DatasourceVariable:
    """Which Prometheus; dashboards name no server of ours."""
    return DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def pipeline() -> QueryVariable:
    return several("pipeline", "Pipeline", "label_values(ai102_gateway_requests_total, pipeline)")


def model() -> QueryVariable:
    """One model: its parts (queue, compute) would add up to nothing over several."""
    query = "label_values(nv_inference_count, model)"
    return _from_labels("model", "Model", query).multi(False).include_all(False)


def replica() -> QueryVariable:
    return several("replica", "Replica", 'label_values(up{job="triton"}, replica)')


def several(name: str, label: str, query: str) -> QueryVariable:
    """Any number of them, all at first."""
    return _from_labels(name, label, query).multi(True).include_all(True).all_value(".*").current(ALL)


def _from_labels(name: str, label: str, query: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
