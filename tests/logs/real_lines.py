"""Lines that the real servers wrote in our own tests, on 2026-11-28, and the documents that they must become.

HAProxy 2.6.12, nginx 1.22.1, tritonserver 2.51, `ai102 api serve`, `ai102 auth serve`. What all have is left out:
`ecs.version`, `event.kind`. The line of Prometheus is written after its documents.
"""

from typing import Any, NamedTuple

GATEWAY = {"event.dataset": "ai102.gateway", "event.category": ["web"], "service.name": "gateway"}


class Real(NamedTuple):
    name: str
    line: str
    document: dict[str, Any]


REAL = [
    Real(
        "HAProxy, gRPC, good",
        '{"time":"2026-11-28T18:35:11Z","id":"b00912ba-de09-4d8b-bb21-58e306fb0c1c","protocol":"grpc","address":"127.0.0.1","subject":"ann","verb":"infer","model":"echo","version":"","method":"POST","status":200,"grpc_status":null,"refused":"","bytes_in":1034,"bytes_out":153,"milliseconds":{"receive":0,"gateway":0,"connect":0,"answer":1,"all":1},"backend":"triton_grpc","replica":"b","retries":"0","end":"----"}',
        GATEWAY
        | {
            "@timestamp": "2026-11-28T18:35:11.000000Z",
            "ai102.answer_ms": 1.0,
            "ai102.connect_ms": 0.0,
            "ai102.gateway_ms": 0.0,
            "ai102.receive_ms": 0.0,
            "ai102.retries": 0,
            "client.address": "127.0.0.1",
            "event.action": "infer",
            "event.duration": 1_000_000,
            "event.outcome": "success",
            "http.request.bytes": 1034,
            "http.request.id": "b00912ba-de09-4d8b-bb21-58e306fb0c1c",
            "http.request.method": "POST",
            "http.response.bytes": 153,
            "http.response.status_code": 200,
            "labels.backend": "triton_grpc",
            "labels.end": "----",
            "labels.outcome": "ok",
            "labels.pipeline": "echo",
            "labels.protocol": "grpc",
            "labels.replica": "b",
            "log.level": "info",
            "user.name": "ann",
        },
    ),
    Real(
        "HAProxy, gRPC, refused",
        '{"time":"2026-11-28T18:35:12Z","id":"74b69677-a94e-42b8-bb3b-4ede2f2cffe9","protocol":"grpc","address":"127.0.0.1","subject":"ann","verb":"infer","model":"hidden","version":"","method":"POST","status":200,"grpc_status":7,"refused":"no grant covers it","bytes_in":1036,"bytes_out":130,"milliseconds":{"receive":0,"gateway":0,"connect":0,"answer":0,"all":0},"backend":"refusals","replica":"<lua.gateway_refuse>","retries":"0","end":"LR--"}',  # noqa: E501
        GATEWAY
        | {
            "@timestamp": "2026-11-28T18:35:12.000000Z",
            "ai102.answer_ms": 0.0,
            "ai102.connect_ms": 0.0,
            "ai102.gateway_ms": 0.0,
            "ai102.receive_ms": 0.0,
            "ai102.retries": 0,
            "client.address": "127.0.0.1",
            "event.action": "infer",
            "event.duration": 0,
            "event.outcome": "failure",
            "event.reason": "no grant covers it",
            "http.request.bytes": 1036,
            "http.request.id": "74b69677-a94e-42b8-bb3b-4ede2f2cffe9",
            "http.request.method": "POST",
            "http.response.bytes": 130,
            "http.response.status_code": 200,
            "labels.backend": "refusals",
            "labels.end": "LR--",
            "labels.grpc_status": "7",
            "labels.outcome": "refused",
            "labels.pipeline": "hidden",
            "labels.protocol": "grpc",
            "log.level": "warn",
            "user.name": "ann",
        },
    ),
    Real(
        "HAProxy, a connection without a request",
        '{"time":"2026-11-28T18:35:17Z","protocol":"rest","address":"127.0.0.1","status":0,"refused":"no request",'
        '"end":"cR--"}',
        GATEWAY
        | {
            "@timestamp": "2026-11-28T18:35:17.000000Z",
            "client.address": "127.0.0.1",
            "event.reason": "no request",
            "labels.end": "cR--",
            "labels.protocol": "rest",
            "log.level": "info",
        },
    ),
    Real(
        "nginx, REST, no answer in time",
        '{"time":"2026-11-28T18:39:28+00:00","id":"931b2ea8b5dad1cb69d7c880176f1087","protocol":"rest","address":"127.0.0.1","subject":"ann","verb":"infer","model":"echo","version":"","method":"POST","status":504,"grpc_status":null,"refused":"answer timeout","bytes_in":953,"bytes_out":291,"milliseconds":{"answer":2002,"all":2002},"replica":"c"}',  # noqa: E501
        GATEWAY
        | {
            "@timestamp": "2026-11-28T18:39:28.000000Z",
            "ai102.answer_ms": 2002.0,
            "client.address": "127.0.0.1",
            "error.code": "504",
            "error.message": "answer timeout",
            "event.action": "infer",
            "event.duration": 2_002_000_000,
            "event.outcome": "failure",
            "event.reason": "answer timeout",
            "http.request.bytes": 953,
            "http.request.id": "931b2ea8b5dad1cb69d7c880176f1087",
            "http.request.method": "POST",
            "http.response.bytes": 291,
            "http.response.status_code": 504,
            "labels.outcome": "failed",
            "labels.pipeline": "echo",
            "labels.protocol": "rest",
            "labels.replica": "c",
            "log.level": "error",
            "user.name": "ann",
        },
    ),
    Real(
        "Triton, an error with a stack",
        r'''E1128 18:38:45.285802 26460 pb_stub.cc:714] "Failed to process the request(s) for model 'echo_0_0', message: ValueError: tel 13800138000 in an error\n\nAt:\n  /models/echo/1/model.py(8): execute\n"''',  # noqa: E501
        {
            "@timestamp": "2026-11-28T18:38:45.285802Z",
            "error.message": "Failed to process the request(s) for model 'echo_0_0', message: ValueError: "
            "tel 13800138000 in an error",
            "error.stack_trace": "  /models/echo/1/model.py(8): execute\n",
            "error.type": "ValueError",
            "event.dataset": "ai102.triton",
            "labels.model": "echo",
            "log.level": "error",
            "log.origin.file.line": 714,
            "log.origin.file.name": "pb_stub.cc",
            "message": "Failed to process the request(s) for model 'echo_0_0', message: ValueError: tel 13800138000 in "
            "an error\n\nAt:\n  /models/echo/1/model.py(8): execute\n",
            "process.pid": 26460,
            "service.name": "triton",
        },
    ),
    Real(
        "Triton, ISO 8601",
        """2026-11-28T18:38:53Z I 27140 model_lifecycle.cc:839] "successfully loaded 'echo'\"""",
        {
            "@timestamp": "2026-11-28T18:38:53.000000Z",
            "event.dataset": "ai102.triton",
            "labels.model": "echo",
            "log.level": "info",
            "log.origin.file.line": 839,
            "log.origin.file.name": "model_lifecycle.cc",
            "message": "successfully loaded 'echo'",
            "process.pid": 27140,
            "service.name": "triton",
        },
    ),
    Real(
        "Triton, verbose, with the request's id",
        'I1128 18:39:02.445085 27594 infer_request.cc:905] "[request id: req-0] prepared: [0x0x55e6804bd180] request id: '  # noqa: E501
        'req-0, model: echo, requested version: -1, actual version: 1"',
        {
            "@timestamp": "2026-11-28T18:39:02.445085Z",
            "event.dataset": "ai102.triton",
            "http.request.id": "req-0",
            "labels.model": "echo",
            "log.level": "info",
            "log.origin.file.line": 905,
            "log.origin.file.name": "infer_request.cc",
            "message": "[request id: req-0] prepared: [0x0x55e6804bd180] request id: req-0, model: echo, "
            "requested version: -1, actual version: 1",
            "process.pid": 27594,
            "service.name": "triton",
        },
    ),
    Real(
        "Triton, one of several replicas",
        'b | I1128 18:40:17.633744 1022 model_lifecycle.cc:472] "loading: embed_text:1"',
        {
            "@timestamp": "2026-11-28T18:40:17.633744Z",
            "event.dataset": "ai102.triton",
            "labels.model": "embed_text",
            "labels.replica": "b",
            "log.level": "info",
            "log.origin.file.line": 472,
            "log.origin.file.name": "model_lifecycle.cc",
            "message": "loading: embed_text:1",
            "process.pid": 1022,
            "service.name": "triton",
        },
    ),
    Real(
        "the friendly API",
        '{"time": "2026-11-28T18:40:29.553+00:00", "request_id": "70eada8c-76be-4a47-841e-5992d6467d96", "user": "ann", '  # noqa: E501
        '"method": "POST", "route": "/v1/classify", "status": 200, "bytes_in": 202, "bytes_out": 229, "ms": 28.497}',
        {
            "@timestamp": "2026-11-28T18:40:29.553000Z",
            "event.category": ["web"],
            "event.dataset": "ai102.api",
            "event.duration": 28_497_000,
            "event.outcome": "success",
            "http.request.bytes": 202,
            "http.request.id": "70eada8c-76be-4a47-841e-5992d6467d96",
            "http.request.method": "POST",
            "http.response.bytes": 229,
            "http.response.status_code": 200,
            "labels.outcome": "ok",
            "log.level": "info",
            "service.name": "api",
            "url.path": "/v1/classify",
            "user.name": "ann",
        },
    ),
    Real(
        "the issuer's audit log, good",
        '{"id": 1, "time": "2026-11-28T16:21:58.354+00:00", "who": "test", "what": "user add", "subject": "alice", '
        '"address": "command line", "request_id": "", "outcome": "ok", "roles": "caller"}',
        {
            "@timestamp": "2026-11-28T16:21:58.354000Z",
            "client.address": "command line",
            "event.action": "user add",
            "event.category": ["iam"],
            "event.dataset": "ai102.audit",
            "event.outcome": "success",
            "labels.outcome": "ok",
            "log.level": "info",
            "message": '{"roles": "caller"}',
            "service.name": "issuer",
            "user.name": "test",
            "user.target.name": "alice",
        },
    ),
    Real(
        "the issuer's audit log, refused",
        '{"id": 2, "time": "2026-11-28T16:22:04.762+00:00", "who": "(no such user)", "what": "login", "subject": '
        '"(no such user)", "address": "127.0.0.1", "request_id": "", "outcome": "refused", "reason": "no such user"}',
        {
            "@timestamp": "2026-11-28T16:22:04.762000Z",
            "client.address": "127.0.0.1",
            "event.action": "login",
            "event.category": ["iam"],
            "event.dataset": "ai102.audit",
            "event.outcome": "failure",
            "event.reason": "no such user",
            "labels.outcome": "refused",
            "log.level": "warn",
            "service.name": "issuer",
            "user.name": "(no such user)",
            "user.target.name": "(no such user)",
        },
    ),
    Real(
        "HAProxy about itself",
        "[WARNING]  (1661) : Proxy rest stopped (cumulated conns: FE: 205, BE: 0).",
        {
            "@timestamp": "2026-11-28T19:00:00.000000Z",
            "event.dataset": "ai102.haproxy",
            "log.level": "warn",
            "message": "Proxy rest stopped (cumulated conns: FE: 205, BE: 0).",
            "process.pid": 1661,
            "service.name": "gateway",
        },
    ),
    Real(
        "nginx about itself",
        "2026/11/28 18:41:12 [error] 7172#7172: *73 recv() failed (104: Connection reset by peer)",
        {
            "@timestamp": "2026-11-28T19:00:00.000000Z",
            "error.message": "recv() failed (104: Connection reset by peer)",
            "event.dataset": "ai102.nginx",
            "log.level": "error",
            "message": "recv() failed (104: Connection reset by peer)",
            "process.pid": 7172,
            "service.name": "gateway",
        },
    ),
    Real(
        "what a model printed",
        "printed by a model, tel 13800138000",
        {
            "@timestamp": "2026-11-28T19:00:00.000000Z",
            "event.dataset": "ai102.text",
            "log.level": "info",
            "message": "printed by a model, tel 13800138000",
            "service.name": "unknown",
        },
    ),
    Real(
        "Prometheus",
        'time=2026-11-28T16:21:58.354Z level=ERROR source=main.go:88 msg="Error loading config" err="no such file"',
        {
            "@timestamp": "2026-11-28T16:21:58.354000Z",
            "error.message": "no such file",
            "event.dataset": "ai102.logfmt",
            "log.level": "error",
            "message": "time=2026-11-28T16:21:58.354Z level=ERROR source=main.go:88 "
            'msg="Error loading config" err="no such file"',
            "service.name": "unknown",
        },
    ),
]
