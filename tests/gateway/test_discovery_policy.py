"""gateway.toml says where replicas are: by name, by DNS or behind a mesh; what does not fit is one line."""

import re
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.gateway import running
from ai102.gateway.haproxy.discovered import states_from_servers
from ai102.gateway.policy import Gateway, load
from ai102.gateway.replica_state import ReplicaState
from ai102.gateway.replicas import serve_replicas

ROOT = Path(__file__).parents[2]
SERVICE = "triton-replicas.ai102.svc.cluster.local"
DNS = f'[triton]\ndiscovery = "dns"\n[triton.dns]\nservice = "{SERVICE}"\n'
MESH = '[triton]\ndiscovery = "mesh"\n[triton.mesh]\nhttp = "triton.ai102.svc.cluster.local:8000"\n'
REPLICA = '[[triton.replicas]]\nname = "a"\nhttp = "127.0.0.1:1"\ngrpc = "127.0.0.1:2"\n'


def loaded(triton: str, folder: Path) -> Gateway:
    """Our own gateway.toml with other tables of Triton."""
    text = (ROOT / "gateway.toml").read_text(encoding="utf-8")
    file = folder / "gateway.toml"
    file.write_text(
        re.sub(r"\[triton\].*?(?=\[services\])", triton.replace("\\", r"\\"), text, flags=re.S), encoding="utf-8"
    )
    return load(file)


@pytest.mark.parametrize(
    ("triton", "line"),
    [
        ("[triton]\n", 'triton.discovery is "static" and there is no table [[triton.replicas]]: write one'),
        ('[triton]\ndiscovery = "dns"\n', 'triton.discovery is "dns" and there is no table [triton.dns]: write one'),
        ('[triton]\ndiscovery = "mesh"\n', 'triton.discovery is "mesh" and there is no table [triton.mesh]: write one'),
        (
            DNS + REPLICA,
            'triton.discovery is "dns" and does not read [[triton.replicas]]: take that out or change discovery',
        ),
        (
            "[triton]\n" + REPLICA + f'[triton.dns]\nservice = "{SERVICE}"\n',
            'triton.discovery is "static" and does not read [triton.dns]: take that out or change discovery',
        ),
        (
            '[triton]\ndiscovery = "DNS"\n',
            "triton.discovery is 'DNS': it should be 'static', 'dns' or 'mesh'; write for example discovery = \"dns\"",
        ),
        (
            DNS.replace(SERVICE, "triton-replicas"),
            "triton.dns.service is 'triton-replicas': it should match pattern '^[a-z0-9-]+(\\.[a-z0-9-]+)+$'; write "
            f'for example service = "{SERVICE}"',
        ),
        (
            DNS + 'nameserver = "kube-dns:53"\n',
            'triton.dns.nameserver is "kube-dns:53", whose host is a name; write its address, for example '
            '"10.96.0.10:53", or "" for the servers of /etc/resolv.conf',
        ),
        (
            DNS + "expected = 3\nat_most = 4\n",
            "triton.dns.at_most is 4 and expected 3: while a release replaces them there are twice as many; "
            "write at_most = 6 or more",
        ),
        (
            DNS + "at_most = 100\n",
            "triton.dns.at_most is 100: it should be less than or equal to 48; write for example at_most = 16",
        ),
        (MESH, 'triton.mesh.grpc is missing; write for example grpc = "triton.ai102.svc.cluster.local:8001"'),
        (DNS + "ttl = 5\n", "triton.dns.ttl is not a key; did you mean ttl_s?"),
    ],
)
def test_a_mistake_is_one_line(triton: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        loaded(triton, tmp_path)
    assert str(raised.value) == f"gateway.toml: {line}"


def test_a_stop_waits_for_records_caches_and_the_gateway(tmp_path: Path) -> None:
    dns = loaded(DNS + "ttl_s = 30\n", tmp_path).triton.dns
    assert dns is not None
    assert (dns.stop_wait_s, dns.model_copy(update={"ttl_s": 5}).stop_wait_s) == (35, 10)


@pytest.mark.parametrize(("proxy", "file"), [("haproxy", "haproxy.cfg"), ("nginx", "nginx.conf")])
def test_a_status_of_a_mesh_is_its_last_word(proxy: running.ProxyName, file: str, tmp_path: Path) -> None:
    """Its sidecar has tried again by itself: tries of both would multiply."""
    mesh = '[triton]\ndiscovery = "mesh"\n[triton.mesh]\nhttp = "localhost:8000"\ngrpc = "localhost:8001"\n'
    tries = []
    for triton in (mesh, '[triton]\ndiscovery = "static"\n' + REPLICA):
        (tmp_path / "secret").touch()
        files = running.PROXIES[proxy].files(loaded(triton, tmp_path), tmp_path)
        (text,) = [text for path, text in files.items() if path.name == file]
        rows = [row for row in text.splitlines() if "retry-on" in row or "next_upstream error" in row]
        tries.append([row for row in rows if "503" in row])
    assert (len(tries[0]), len(tries[1]) > 0) == (0, True)


def test_nginx_refuses_what_it_cannot_follow(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'triton\.discovery is "dns", which needs HAProxy: .* --proxy haproxy'):
        running.render(loaded(DNS, tmp_path), tmp_path, "nginx")


def test_replicas_that_have_no_name_are_not_started(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'triton\.discovery is "dns", so it names no replicas to start'):
        serve_replicas(loaded(DNS, tmp_path), tmp_path, 1, tmp_path, say=print, log=print)


BACKENDS = ("http", "grpc")


def server(backend: str, name: str, host: str, address: str, port: str) -> dict[str, str]:
    return {"be_name": backend, "srv_name": name, "srv_fqdn": host, "srv_addr": address, "srv_port": port}


def statistics(**status: str) -> list[dict[str, str]]:
    """By backend and server, such as http_r1; each with two calls."""
    rows = []
    for place, word in status.items():
        backend, _, name = place.partition("_")
        rows.append({"pxname": backend, "svname": name, "status": word, "scur": "2"})
    return rows


@pytest.mark.parametrize(
    ("servers", "status", "states"),
    [
        ([server("http", "r1", "-", "-", "0"), server("grpc", "r1", "-", "-", "0")], {}, []),
        # The backends gave their servers to replicas in another order.
        (
            [
                server("http", "r1", "x", "10.0.0.1", "8000"),
                server("http", "r2", "y", "10.0.0.2", "8000"),
                server("grpc", "r1", "y", "10.0.0.2", "8001"),
                server("grpc", "r2", "x", "10.0.0.1", "8001"),
            ],
            {"http_r1": "UP", "http_r2": "UP", "grpc_r1": "DOWN", "grpc_r2": "UP 1/2"},
            [ReplicaState("10.0.0.1", True, False, 4), ReplicaState("10.0.0.2", False, False, 4)],
        ),
        (
            [server("http", "r1", "x", "10.0.0.1", "8000")],
            {"http_r1": "UP"},
            [ReplicaState("10.0.0.1", False, False, 2)],
        ),
        (
            [
                server("http", "r1", "x", "10.0.0.1", "8000"),
                server("http", "r2", "y", "10.0.0.1", "8010"),
                server("other", "r1", "z", "10.0.0.9", "1"),
            ],
            {"http_r1": "UP", "http_r2": "UP"},
            [ReplicaState("10.0.0.1:8000", False, False, 2), ReplicaState("10.0.0.1:8010", False, False, 2)],
        ),
    ],
)
def test_servers_are_one_replica_by_the_host_of_their_record(
    servers: list[dict[str, str]], status: dict[str, str], states: list[ReplicaState]
) -> None:
    assert states_from_servers(servers, statistics(**status), BACKENDS) == states
