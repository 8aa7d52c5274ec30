"""Behind a mesh the gateway asks one Service by its name, and leaves its pods to the mesh."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from ai102.errors import UserError
from ai102.gateway.running import PROXIES, ProxyName, Runner
from tests.gateway.access_log import row_of
from tests.gateway.asking import Asker, infer_message, tensor_json
from tests.gateway.conftest import MakeHome, needs
from tests.gateway.load import INFER
from tests.gateway.recorders import Recorder

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize(
        "proxy", [pytest.param("haproxy", marks=needs("haproxy")), pytest.param("nginx", marks=needs("nginx"))]
    ),
]


@contextmanager
def grpc_service() -> Iterator[tuple[str, list[str]]]:
    """Answers every inference; its address, and which host each call asked for."""
    hosts: list[str] = []

    def infer(request: Any, context: Any) -> Any:
        # Python's gRPC shows the authority nowhere else.
        hosts.append(context._rpc_event.call_details.host.decode())
        return pb.ModelInferResponse(model_name=request.model_name)

    handler = grpc.unary_unary_rpc_method_handler(
        infer, pb.ModelInferRequest.FromString, pb.ModelInferResponse.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"localhost:{port}", hosts
    finally:
        server.stop(None).wait(5)


def mesh_table(http: str, grpc_place: str) -> dict[str, Any]:
    return {"discovery": "mesh", "replicas": [], "mesh": {"http": http, "grpc": grpc_place}}


def test_a_call_asks_for_the_service_by_its_name(proxy: ProxyName, make_home: MakeHome, caller: str) -> None:
    with Recorder().running() as rest, grpc_service() as (place, hosts):
        http = f"localhost:{rest.address.rpartition(':')[2]}"
        home = make_home(triton=mesh_table(http, place))
        with Runner(home.gateway, home.folder, proxy, log=home.folder / "log"):
            asker = Asker(home)
            assert asker.status("POST", INFER, caller, json=tensor_json(), headers={"x-request-id": "rest"}) == 200
            assert asker.call(infer_message(), caller, metadata={"x-request-id": "grpc"}) == "OK"
            assert rest.headers[INFER]["host"] == "localhost"
            assert hosts == ["localhost"]
            assert {row_of(home.folder / "log", name)["replica"] for name in ("rest", "grpc")} == {"mesh"}
            states = PROXIES[proxy].states(home.gateway, home.folder)
            assert [(state.name, state.is_up) for state in states] == [("mesh", True)]
            with pytest.raises(
                UserError, match=r'discovery is "mesh", and only replicas with a name there are drained'
            ):
                PROXIES[proxy].drain(home.gateway, home.folder, "mesh")
            asker.close()
