"""Rows of the access log, as HAProxy and nginx write them, and how each call ended."""

from typing import Any

GOALS_MS = {"classify_image": 100.0}
HAPROXY_REST: dict[str, Any] = {
    "time": "2026-11-28T18:00:00Z", "id": "1", "protocol": "rest", "subject": "ann", "verb": "infer",
    "model": "classify_image", "method": "POST", "status": 200, "grpc_status": None, "refused": "",
    "milliseconds": {"receive": 0, "gateway": 0, "connect": 0, "answer": 7, "all": 8}, "backend": "triton_http",
    "replica": "a", "end": "----",
}  # fmt: skip
# The status of an answer with a message stands in its trailers, which HAProxy does not log.
HAPROXY_GRPC = HAPROXY_REST | {"protocol": "grpc", "grpc_status": None, "backend": "triton_grpc"}
NGINX_REST = {key: value for key, value in HAPROXY_REST.items() if key not in ("backend", "end")} | {
    "milliseconds": {"answer": 7, "all": 8}
}
NGINX_GRPC = NGINX_REST | {"protocol": "grpc", "grpc_status": 0}
LATE = {"milliseconds": {"all": 1001}}
NO_ANSWER = {"status": -1, "milliseconds": {"all": 5}}

OUTCOMES = {
    "an answer over REST": (HAPROXY_REST, {}, "ok"),
    "an answer over gRPC": (HAPROXY_GRPC, {}, "ok"),
    "an answer over REST, nginx": (NGINX_REST, {}, "ok"),
    "an answer over gRPC, nginx": (NGINX_GRPC, {}, "ok"),
    "no right": (HAPROXY_REST, {"status": 403, "refused": "no grant", "backend": "refusals"}, "refused"),
    "no right over gRPC": (HAPROXY_GRPC, {"grpc_status": 7, "refused": "no grant", "backend": "refusals"}, "refused"),
    "no right, nginx": (NGINX_GRPC, {"grpc_status": 7, "refused": "no grant"}, "refused"),
    "a sender who left when refused": (HAPROXY_REST, {"status": 413, "refused": "too large", "end": "CL--"}, "refused"),
    "HAProxy's own refusal": (HAPROXY_REST, {"status": 408, "backend": "rest", "end": "cR--"}, "refused"),
    "nginx's own refusal": (NGINX_REST, {"status": 408, "refused": "the request came too slowly"}, "refused"),
    "too many over REST": (HAPROXY_REST, {"status": 429, "refused": "rate_limited"}, "limited"),
    "too many over gRPC": (HAPROXY_GRPC, {"grpc_status": 8, "refused": "rate_limited"}, "limited"),
    "too many over gRPC, nginx": (NGINX_GRPC, {"grpc_status": 8, "refused": "too many requests"}, "limited"),
    "Triton finds the input wrong": (HAPROXY_REST, {"status": 400}, "client_error"),
    "Triton finds the input wrong over gRPC": (HAPROXY_GRPC, {"grpc_status": 3}, "client_error"),
    "the model fails": (HAPROXY_REST, {"status": 500}, "failed"),
    "the model fails over gRPC": (NGINX_GRPC, {"grpc_status": 13}, "failed"),
    "the replica lacks the model": (HAPROXY_REST, {"status": 404}, "failed"),
    "the replica lacks the model, over gRPC": (HAPROXY_GRPC, {"grpc_status": 5}, "failed"),
    "no replica": (HAPROXY_REST, {"status": 503, "backend": "triton_http", "replica": "<NOSRV>"}, "failed"),
    "no replica, nginx": (NGINX_GRPC, {"grpc_status": 14, "refused": "no replica to ask"}, "failed"),
    "a defect of the judge": (HAPROXY_REST, {"status": 503, "refused": "defect: x"}, "failed"),
    "the answer took too long": (NGINX_REST, {"status": 504, "refused": "answer timeout"}, "failed"),
    "the answer took too long, HAProxy over gRPC": (HAPROXY_GRPC, {"grpc_status": 4, "end": "sH--"}, "failed"),
    "a caller's own deadline": (HAPROXY_GRPC, {"grpc_status": 4, "end": "SD--"}, "cancelled"),
    "a caller's own deadline, too late": (HAPROXY_GRPC, {"grpc_status": 4, "end": "SD--"} | LATE, "failed"),
    "a caller's own deadline, nginx": (NGINX_GRPC, {"grpc_status": 4}, "cancelled"),
    "too long, nginx over gRPC": (NGINX_GRPC, {"grpc_status": 4, "refused": "answer timeout"}, "failed"),
    "an answer that was cut": (HAPROXY_REST, {"end": "SD--"}, "failed"),
    "an answer without an end over gRPC": (HAPROXY_GRPC, {"end": "SD--"}, "failed"),
    "an answer without an end over gRPC, nginx": (NGINX_GRPC, {"grpc_status": None}, "failed"),
    "a caller who left": (HAPROXY_REST, NO_ANSWER | {"end": "CH--"}, "cancelled"),
    "a caller who left over gRPC": (HAPROXY_GRPC, NO_ANSWER | {"grpc_status": None, "end": "CH--"}, "cancelled"),
    "a caller who left, nginx": (NGINX_REST, {"status": 499, "refused": "the caller left"}, "cancelled"),
    "a caller who cancels": (NGINX_GRPC, {"grpc_status": 1}, "cancelled"),
    "a caller who left when it was too late": (HAPROXY_GRPC, NO_ANSWER | {"end": "CH--"} | LATE, "failed"),
    "a caller who left when it was too late, nginx": (
        NGINX_GRPC, {"status": 499, "refused": "the caller left"} | LATE, "failed",
    ),
}  # fmt: skip
