"""Triton's own words become facts: statistics of both protocols, configs, metrics."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from ai102.client.calls import ModelState
from ai102.explain.facts import Config, Counts, between, config_from_pb, counts_of, metrics_from_text
from ai102.explain.run import facts_of

# As the real server answers after 20 requests of one and a warm-up of 64; gRPC leaves zeros out.
ROW = {
    "name": "digits_int8",
    "version": "1",
    "inference_count": 84,
    "execution_count": 21,
    "inference_stats": {
        "success": {"count": 84, "ns": 1000},
        "fail": {},
        "queue": {"count": 84, "ns": 100},
        "compute_input": {"count": 84, "ns": 200},
        "compute_infer": {"count": 84, "ns": 600},
        "compute_output": {"count": 84, "ns": 50},
    },
    "batch_stats": [
        {"batch_size": 64, "compute_infer": {"count": 1, "ns": 30}},
        {"batch_size": 1, "compute_input": {"count": 20, "ns": 5}, "compute_infer": {"count": 20, "ns": 70}},
    ],
}
COUNTED = Counts(84, 0, 84, 21, 1000, 100, 200, 600, 50, 0, 0, ((1, 20), (64, 1)), 105)


def test_statistics_become_counts_and_busy_time_counts_each_run_once() -> None:
    assert counts_of([ROW]) == COUNTED


def test_versions_of_a_model_count_together() -> None:
    assert counts_of([ROW, ROW | {"version": "2"}]) == between(Counts(), counts_of([ROW, ROW]))
    assert counts_of([ROW, ROW]).batches == ((1, 40), (64, 2))


def test_a_window_is_the_difference_and_sizes_that_did_not_occur_are_left_out() -> None:
    later = ROW | {"inference_count": 94, "execution_count": 31, "batch_stats": [
        ROW["batch_stats"][0], {"batch_size": 1, "compute_infer": {"count": 30, "ns": 100}}  # type: ignore[index]
    ]}  # fmt: skip
    window = between(counts_of([ROW]), counts_of([later]))
    assert (window.inferences, window.executions, window.batches) == (10, 10, ((1, 10),))


def test_a_model_loaded_anew_meanwhile_is_counted_from_its_beginning() -> None:
    assert between(counts_of([ROW, ROW]), counts_of([ROW])) == COUNTED


def test_a_config_becomes_what_the_rules_look_at() -> None:
    config = text_format.Parse(
        """name: "m" max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: -1 }
        instance_group { count: 2 kind: KIND_CPU } dynamic_batching { max_queue_delay_microseconds: 300 }
        model_warmup { name: "w" } response_cache { enable: true }""",
        pb.ModelConfig(),
    )
    assert config_from_pb(config) == Config(8, True, 300, (), 2, True, True, True)


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ('[{"model": "a", "kind": "decode_image"}, {"model": "b", "kind": "onnx"}]', ("a", "b")),
        ("no JSON", ()),
        ("12", ()),
        ('["a"]', ()),
    ],
)
def test_a_pipeline_in_one_process_names_the_models_whose_work_it_does(text: str, joined: tuple[str, ...]) -> None:
    config = pb.ModelConfig(name="m", backend="python")
    config.parameters["steps"].string_value = text
    assert config_from_pb(config).joined == joined
    assert config_from_pb(pb.ModelConfig(name="m")).joined == ()


def test_failures_are_told_by_reason_over_all_versions() -> None:
    text = (
        "# HELP nv_inference_request_failure Number of failed inference requests\n"
        "# TYPE nv_inference_request_failure counter\n"
        'nv_inference_request_failure{model="m",reason="REJECTED",version="1"} 3\n'
        'nv_inference_request_failure{model="m",reason="REJECTED",version="2"} 4\n'
        'nv_inference_request_failure{model="n",reason="OTHER",version="1"} 0\n'
        'nv_inference_request_success{model="m",version="1"} 9\n'
    )
    assert metrics_from_text(text).failures == {"m": {"REJECTED": 7}, "n": {"OTHER": 0}}


def test_labels_of_metrics_may_hold_what_separates_them() -> None:
    text = r'nv_inference_request_failure{model="a\"b},c",reason="REJECTED"} 1.0e+01 1764300000000' + "\n"
    assert metrics_from_text(text).failures == {'a"b},c': {"REJECTED": 10}}


def test_a_model_has_the_engine_that_it_names_and_during_an_update_both() -> None:
    text = (
        "# HELP ai102_engine_info The engine that computes a model\n"
        "# TYPE ai102_engine_info gauge\n"
        'ai102_engine_info{engine="OpenVINO 2026.4.1",model="m",version="2"} 1\n'
        'ai102_engine_info{engine="ONNX Runtime 1.32.0",model="m",version="1"} 1\n'
        'ai102_engine_info{engine="ONNX Runtime 1.32.0",model="n",version="1"} 1\n'
    )
    assert metrics_from_text(text).engines == {
        "m": "ONNX Runtime 1.32.0 and OpenVINO 2026.4.1",
        "n": "ONNX Runtime 1.32.0",
    }


def test_what_is_no_metrics_is_refused() -> None:
    with pytest.raises(ValueError, match="html"):
        metrics_from_text("<html>hello</html>\n")


def test_ensembles_come_first_with_their_steps_and_steps_know_what_is_around_them() -> None:
    busy = Counts(requests=100, total_ns=3_000_000_000)
    found = facts_of(
        ["a", "both"],
        {name: ModelState(name, "1", "READY", "") for name in ("a", "both")},
        {"a": Config(), "both": Config(steps=("a",))},
        {},
        {"a": Counts(requests=100, total_ns=1), "both": busy},
        1.0,
        None,
    )
    assert [(facts.model, [step.model for step in facts.steps], facts.around) for facts in found] == [
        ("both", ["a"], 0.0),
        ("a", [], 3.0),
    ]
