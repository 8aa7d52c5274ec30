"""What stands behind a gateway in the place of a replica or a service, and remembers the headers that it got."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc


class Recorder:
    """A server that answers everything with 200 and keeps the headers of each request by its address."""

    def __init__(self) -> None:
        self.headers: dict[str, dict[str, str]] = {}
        self.pairs: dict[str, list[tuple[str, str]]] = {}  # a header that came twice is there twice
        self.unanswered: list[str] = []  # addresses, a row for each request
        self.leaves_posts = False  # takes each, and ends the connection without an answer
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                recorder.headers[self.path] = {name.lower(): value for name, value in self.headers.items()}
                recorder.pairs[self.path] = [(name.lower(), value) for name, value in self.headers.items()]
                self.rfile.read(int(self.headers.get("content-length", "0")))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                if not recorder.leaves_posts:
                    self.do_GET()
                    return
                self.rfile.read(int(self.headers.get("content-length", "0")))
                recorder.unanswered.append(self.path)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"

    @contextmanager
    def running(self) -> Iterator["Recorder"]:
        thread = Thread(target=self.server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


class GrpcRecorder(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A replica over gRPC that answers every inference at once, and keeps the metadata of each."""

    def __init__(self) -> None:
        self.metadata: list[list[tuple[str, str]]] = []
        self.status: grpc.StatusCode | None = None  # instead of an answer
        self.stops = Event()
        self.is_slow = False  # answers when it stops

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        self.metadata.append(list(context.invocation_metadata()))
        if self.is_slow:
            self.stops.wait(30)
        if self.status is not None:
            context.abort(self.status, "as the test wants it")
        return pb.ModelInferResponse(model_name=request.model_name)

    def ModelStreamInfer(self, requests: Any, context: Any) -> Any:  # noqa: N802
        self.metadata.append(list(context.invocation_metadata()))
        for request in requests:
            answer = pb.ModelInferResponse(model_name=request.model_name)
            yield pb.ModelStreamInferResponse(infer_response=answer)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Gives the address."""
        server = grpc.server(ThreadPoolExecutor(8))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            self.stops.set()
            server.stop(None).wait(5)
