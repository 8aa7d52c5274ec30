"""Mutations of where a model runs: instance groups, devices, and the resources of the rate limiter."""

from __future__ import annotations

from collections.abc import Mapping

from ai102.agreement.mutations.edits import Kind, add, adds, kind, swap, swaps

GROUP = "instance_group {\n  kind: KIND_CPU\n  count: 1\n}"
SOME = "plain onnx batching tensorrt_plan"


KINDS: Mapping[str, Kind] = {
    "no_instance_group": kind("plain onnx tensorrt_plan", swap(GROUP, ""), most=3),
    "instance_count": kind(
        SOME, *swaps("count: 1", "", "count: 0", "count: -1", "count: 2", "count: -2147483648", "count: 1.0"), most=16
    ),
    "instance_kind": kind(
        SOME, *swaps("kind: KIND_CPU", "", "kind: KIND_AUTO", "kind: KIND_GPU", "kind: KIND_MODEL"), most=14
    ),
    "gpus_of_an_instance": kind(
        SOME,
        *swaps("kind: KIND_CPU", "kind: KIND_CPU gpus: [ 0 ]", "kind: KIND_GPU gpus: [ 0 ]", "gpus: [ 0, 0 ]"),
        *swaps(
            "kind: KIND_CPU", "kind: KIND_GPU gpus: [ 99 ]", "kind: KIND_GPU gpus: [ -1 ]", "kind: KIND_MODEL gpus: 0"
        ),
        *swaps("kind: KIND_CPU", "kind: KIND_CPU gpus: [ ]", "kind: KIND_AUTO gpus: [ 0 ]"),
        most=18,
    ),
    "passive_instance": kind(
        SOME,
        swap("count: 1", "count: 1 passive: true"),
        swap("count: 1", "count: 1 passive: false"),
        add("instance_group { kind: KIND_CPU count: 1 passive: true }"),
        most=8,
    ),
    "profile_of_an_instance": kind(
        SOME, *swaps("count: 1", 'count: 1 profile: [ "0" ]', 'count: 1 profile: ""'), most=6
    ),
    "several_instance_groups": kind(
        "plain instances onnx",
        *adds("instance_group { }", "instance_group { kind: KIND_CPU }", "instance_group { count: 1 kind: KIND_CPU }"),
        *adds(
            'instance_group { name: "workers" kind: KIND_CPU count: 1 }',
            "instance_group [ { }, { } ]",
            "instance_group [ ]",
        ),
        swap('name: "workers"', 'name: ""'),
        most=14,
    ),
    "secondary_devices_and_policies": kind(
        "plain onnx tensorrt_plan",
        *swaps("count: 1", "count: 1 secondary_devices { kind: KIND_NVDLA device_id: 0 }", 'count: 1 host_policy: "p"'),
        swap("count: 1", "count: 1 secondary_devices { }"),
        most=7,
    ),
    "rate_limiter": kind(
        "instances",
        *swaps("priority: 2", "priority: 0", "priority: -1", "priority: 4294967295", "priority: 4294967296", ""),
        *swaps('name: "R1"', "", 'name: ""', 'name: "R2"', 'name: "R1" global: true'),
        *swaps(
            '{ name: "R1" count: 1 }', '{ name: "R1" }', '{ name: "R1" count: 0 }', '{ name: "R1" count: 99 }', "{ }"
        ),
        *swaps("global: true count: 2", "global: false count: 2", "global: true count: -2", "count: 4294967296"),
        most=20,
    ),
}
