"""Certificates and kubeconfigs of every part of the cluster, made anew for each cluster."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ai102 import artifact
from k8s.local.plan import API_SERVICE, API_URL, CONTROL, DOMAIN, NODES, REGISTRY, Plan

VALID = datetime.timedelta(days=365)
CLOCK_DIFFERENCE = datetime.timedelta(minutes=5)
ADMIN = "admin"
API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}")


@dataclass(frozen=True)
class Subject:
    """Whom a certificate is for: Kubernetes takes the common name as the user, the organization as the group."""

    file: str
    common_name: str
    organization: str = ""
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


SERVERS = (
    Subject("apiserver", "kube-apiserver", "", (CONTROL.address, API_SERVICE, "127.0.0.1"), API_NAMES),
    Subject("kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
    Subject("registry", "registry", "", (REGISTRY.address,)),
)
# These call the API server, each with a kubeconfig of its own.
CALLERS = (
    Subject(ADMIN, "admin", "system:masters"),
    Subject("controller-manager", "system:kube-controller-manager"),
    Subject("scheduler", "system:kube-scheduler"),
    Subject("kube-proxy", "system:kube-proxy"),
    Subject("kube-router", "kube-router"),
    *(Subject(node.name, f"system:node:{node.name}", "system:nodes", (node.address,), (node.name,)) for node in NODES),
)


@dataclass(frozen=True)
class Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)


def make(plan: Plan) -> None:
    """Write all of them into the cluster's folder, unless they are there."""
    if plan.pki.exists() and plan.kubeconfig.exists():
        return
    authority, front = new_authority("kubernetes"), new_authority("front-proxy")
    accounts = ec.generate_private_key(ec.SECP256R1())
    files = {**_files("ca", authority), **_files("front-proxy-ca", front)}
    files |= _files("front-proxy", signed(front, Subject("front-proxy", "front-proxy-client")))
    files["service-accounts.key"] = key_pem(accounts)
    files["service-accounts.pub"] = accounts.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for subject in (*SERVERS, *CALLERS):
        pair = signed(authority, subject)
        files |= _files(subject.file, pair)
        if subject in CALLERS:
            files[f"{subject.file}.kubeconfig"] = kubeconfig(authority, pair, plan.name).encode()
    with artifact.temporary_folder(plan.folder) as temporary:
        (temporary / "pki").mkdir(0o700)
        for name, content in files.items():
            artifact.write_bytes(temporary / "pki" / name, content)
        artifact.write_bytes(plan.kubeconfig, files[f"{ADMIN}.kubeconfig"])
        (temporary / "pki").rename(plan.pki)


def new_authority(name: str) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = _usage(signs_certificates=True)
    builder = _builder(subject, subject, key).add_extension(x509.BasicConstraints(True, None), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def signed(authority: Pair, subject: Subject) -> Pair:
    """A certificate for servers and clients alike."""
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name)]
    if subject.organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, subject.organization))
    builder = _builder(x509.Name(attributes), authority.certificate.subject, key)
    builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(address)) for address in subject.addresses]
    names += [x509.DNSName(name) for name in subject.names]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def kubeconfig(authority: Pair, pair: Pair, cluster: str) -> str:
    """A kubeconfig that needs no other file. JSON is YAML."""
    data = {
        "certificate-authority-data": authority.certificate_pem,
        "client-certificate-data": pair.certificate_pem,
        "client-key-data": pair.key_pem,
    }
    text = {name: base64.b64encode(content).decode() for name, content in data.items()}
    ca = text.pop("certificate-authority-data")
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": API_URL, "certificate-authority-data": ca}}],
        "users": [{"name": cluster, "user": text}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
        "current-context": cluster,
    }
    return json.dumps(document, indent=1) + "\n"


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _files(name: str, pair: Pair) -> dict[str, bytes]:
    return {f"{name}.crt": pair.certificate_pem, f"{name}.key": pair.key_pem}


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    return builder.not_valid_before(now - CLOCK_DIFFERENCE).not_valid_after(now + VALID)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
