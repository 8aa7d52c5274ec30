"""A certificate authority for tests, a server certificate of it for the gateway, and a client's for mutual TLS."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ai102.artifact import write_bytes
from ai102.errors import UserError

ALWAYS = ("localhost", "127.0.0.1", "::1")
CA_DAYS, LEAF_DAYS = 3650, 397  # browsers refuse a server certificate of more days
BACKDATED = timedelta(minutes=5)  # clocks differ
FILES = ("ca.pem", "ca.key", "server.pem", "client.pem")


@dataclass(frozen=True)
class Made:
    """One certificate: where it lies, whom it names, until when it holds, and whether it was written now."""

    path: Path
    names: tuple[str, ...]
    expires: datetime
    is_new: bool


def make(folder: Path, names: Sequence[str] = (), *, client: str = "client", force: bool = False) -> list[Made]:
    """Write ca.pem, ca.key, server.pem and client.pem (the last two with their keys, mode 0600) into `folder`.

    The server's names are localhost, 127.0.0.1, ::1 and `names`. What is there already stays, unless `force`; then
    all are new, and a client that trusts the old CA must be given the new one.
    Raises UserError when some of the files are there and others are not, or a file is no certificate.
    """
    there = [name for name in FILES if (folder / name).exists()]
    if there == list(FILES) and not force:
        return [_made(folder / name, is_new=False) for name in FILES if name.endswith(".pem")]
    if there and not force:
        missing = ", ".join(name for name in FILES if name not in there)
        raise UserError(f"{folder}: has {', '.join(there)} but not {missing}; --force makes all of them anew")
    folder.mkdir(parents=True, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _authority(ca_key)
    server = _leaf("ai102 gateway", _alternatives((*ALWAYS, *names)), ExtendedKeyUsageOID.SERVER_AUTH, ca, ca_key)
    own = _leaf(client, None, ExtendedKeyUsageOID.CLIENT_AUTH, ca, ca_key)
    write_bytes(folder / "ca.key", _pem_from_key(ca_key))
    write_bytes(folder / "server.pem", server)
    write_bytes(folder / "client.pem", own)
    write_bytes(folder / "ca.pem", ca.public_bytes(Encoding.PEM), 0o644)
    return [_made(folder / name, is_new=True) for name in FILES if name.endswith(".pem")]


def check(path: Path, wanted_for: str) -> None:
    """UserError when the certificate at `path` is missing, unreadable or past its end."""
    if not path.exists():
        raise UserError(f"{wanted_for}: there is no {path}; `ai102 gateway certs` makes a test CA and a certificate")
    facts = _made(path, is_new=False)
    if facts.expires <= datetime.now(UTC):
        raise UserError(f"{wanted_for}: {path} expired on {facts.expires:%Y-%m-%d}; renew it, or a test one with "
                        "`ai102 gateway certs --force`")  # fmt: skip


def expiry(path: Path) -> datetime:
    """Until when the certificate holds; UserError when it cannot be read."""
    return _made(path, is_new=False).expires


def _made(path: Path, *, is_new: bool) -> Made:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as err:
        raise UserError(f"{path}: holds no certificate in PEM ({err})") from err
    except PermissionError as err:
        raise UserError(f"{path}: cannot be read ({err.strerror}); run as its owner") from err
    names: list[str] = []
    with contextlib.suppress(x509.ExtensionNotFound):
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(name.value) for name in alternatives]
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Made(path, tuple(names or [str(name.value) for name in common]), certificate.not_valid_after_utc, is_new)


def _alternatives(names: Sequence[str]) -> x509.SubjectAlternativeName:
    general_names: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            general_names.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            try:
                general_names.append(x509.DNSName(name))
            except ValueError as err:
                raise UserError(f"--name {name!r} is no host name ({err}); write one such as ai102.example") from err
    return x509.SubjectAlternativeName(general_names)


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ai102 test CA")])
    usage = _usage(signs_certificates=True)
    return (
        _begun(name, name, key, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    common_name: str,
    alternatives: x509.SubjectAlternativeName | None,
    purpose: x509.ObjectIdentifier,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
) -> bytes:
    """Certificate and key in one PEM, as HAProxy wants them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    authority = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _begun(name, ca.subject, key, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False)
    )
    if alternatives is not None:
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM) + _pem_from_key(key)


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> (
    x509.CertificateBuilder
):  # fmt: skip
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem_from_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
