"""Stands in for the cluster's DNS: the SRV and A records of a headless Service over UDP, changed while it answers.

It answers as CoreDNS does, whose kubernetes plugin needs an API server: one SRV record for each replica and port, with
the address as an additional record, and NXDOMAIN when no replica is ready.
"""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dnslib import EDNS0, QTYPE, RCODE, RR, SRV, A, DNSRecord

SERVICE = "triton-replicas.ai102.svc.cluster.local"


class ClusterDns:
    """Use `running`; `replicas` may be changed at any time: host (as in 10-0-0-1), then HTTP and gRPC address."""

    def __init__(self) -> None:
        self.replicas: dict[str, tuple[str, str]] = {}
        self.rcode: int | None = None  # in the place of an answer
        self.is_silent = False
        self.cache_s = 0.0  # how long an answer is given again, as a cache between would
        self._cached: dict[str, tuple[float, dict[str, tuple[str, str]]]] = {}
        self.asked = 0
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[ClusterDns]:
        """Answers until the block ends; the next time it has the same port."""
        dns = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, socket = self.request
                dns.asked += 1
                if not dns.is_silent:
                    socket.sendto(dns.answer(data), self.client_address)

        with socketserver.UDPServer(("127.0.0.1", self.port), Handler) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def answer(self, data: bytes) -> bytes:
        question = DNSRecord.parse(data)
        reply = question.reply()
        name = str(question.q.qname).rstrip(".")
        if self.rcode is not None:
            reply.header.rcode = self.rcode
        elif question.q.qtype == QTYPE.SRV and name in (f"_http._tcp.{SERVICE}", f"_grpc._tcp.{SERVICE}"):
            self._add_replicas(reply, name)
        elif question.q.qtype == QTYPE.A and name.endswith("." + SERVICE):
            http, _ = self.replicas.get(name.split(".")[0], ("", ""))
            if http:
                reply.add_answer(RR(name, QTYPE.A, rdata=A(http.rpartition(":")[0]), ttl=5))
        if not reply.rr and self.rcode is None:
            reply.header.rcode = RCODE.NXDOMAIN
        reply.add_ar(EDNS0(udp_len=8192))
        return bytes(reply.pack())

    def _known(self, name: str) -> dict[str, tuple[str, str]]:
        since, replicas = self._cached.get(name, (0.0, self.replicas))
        if time.monotonic() - since >= self.cache_s:
            self._cached[name] = time.monotonic(), self.replicas
            return self.replicas
        return replicas

    def _add_replicas(self, reply: Any, name: str) -> None:
        for host, places in self._known(name).items():
            address, _, port = places[name.startswith("_grpc")].rpartition(":")
            target = f"{host}.{SERVICE}"
            reply.add_answer(RR(name, QTYPE.SRV, rdata=SRV(0, 50, int(port), target), ttl=5))
            reply.add_ar(RR(target, QTYPE.A, rdata=A(address), ttl=5))
