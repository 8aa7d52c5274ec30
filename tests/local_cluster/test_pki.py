"""Certificates that Kubernetes takes: who is who by name and group, which addresses a server has, who signed."""

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from k8s.local import pki
from k8s.local.plan import Plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    plan = Plan("ai102-unit", tmp_path_factory.mktemp("cluster"))
    pki.make(plan)
    return plan


def certificate(plan: Plan, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((plan.pki / f"{name}.crt").read_bytes())


def test_a_node_is_known_by_its_group_and_name(plan: Plan) -> None:
    subject = certificate(plan, "n2").subject
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:n2"


def test_the_api_server_is_known_by_its_address_and_its_services(plan: Plan) -> None:
    names = certificate(plan, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {"10.99.0.1", "10.96.0.1"} <= addresses
    assert "kubernetes.default.svc.cluster.local" in names.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize(
    ("name", "authority"), [("admin", "ca"), ("registry", "ca"), ("front-proxy", "front-proxy-ca")]
)
def test_every_certificate_is_signed_by_its_authority(plan: Plan, name: str, authority: str) -> None:
    certificate(plan, name).verify_directly_issued_by(certificate(plan, authority))


def test_a_kubeconfig_needs_no_other_file(plan: Plan) -> None:
    document = json.loads(plan.kubeconfig.read_text(encoding="utf-8"))
    user = document["users"][0]["user"]
    held = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))
    key = load_pem_private_key(base64.b64decode(user["client-key-data"]), None)
    assert held == certificate(plan, "admin")
    assert document["clusters"][0]["cluster"]["server"] == "https://10.99.0.1:6443"
    assert key.public_key() == held.public_key()


def test_keys_are_readable_by_their_owner_alone(plan: Plan) -> None:
    modes = {stat.S_IMODE(file.stat().st_mode) for file in [*plan.pki.iterdir(), plan.kubeconfig]}
    assert modes == {0o600}


def test_a_second_cluster_has_other_keys_and_a_second_call_none(plan: Plan, tmp_path: Path) -> None:
    before = (plan.pki / "ca.crt").read_bytes()
    pki.make(plan)
    other = Plan("ai102-other", tmp_path)
    pki.make(other)
    assert (plan.pki / "ca.crt").read_bytes() == before
    assert (other.pki / "ca.crt").read_bytes() != before


def test_the_signing_key_of_service_accounts_has_its_public_half(plan: Plan) -> None:
    assert b"BEGIN PUBLIC KEY" in (plan.pki / "service-accounts.pub").read_bytes()
    assert isinstance(certificate(plan, "ca").public_key(), ec.EllipticCurvePublicKey)
