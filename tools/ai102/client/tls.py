"""TLS between a client and its server: whom to trust, our certificate, and the errors of either."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ai102.client.errors import InferenceError, TlsError, no_tls, wrong_protocol
from ai102.errors import UserError

ALPN = {"http": "http/1.1", "grpc": "h2"}
# OpenSSL's verify codes.
_EXPIRED, _NOT_YET, _OTHER_NAMES = 10, 9, (62, 64)
# Reasons of OpenSSL when the other side does not speak TLS at all.
_NO_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_MESSAGE",
)
_ABOUT_US = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "ACCESS_DENIED")


@dataclass(frozen=True)
class Tls:
    """How a client checks its server, and its own certificate. Files are PEM, read once when the client is created.

    `ca_file` replaces the system's certificate authorities. `certificate_file` and `key_file` are for mutual TLS; one
    file may hold both, which is then named once. `server_name` is the name in the server's certificate, where that is
    not the host of the URL: behind a tunnel, or by address.
    """

    ca_file: str | Path = ""
    certificate_file: str | Path = ""
    key_file: str | Path = ""
    server_name: str = ""

    def __post_init__(self) -> None:
        if str(self.key_file) and not str(self.certificate_file):
            raise UserError(f"tls: key_file is {self.key_file}, but there is no certificate_file: give that too")


@dataclass(frozen=True)
class Secure:
    """A Tls whose files were read and fit together."""

    context: ssl.SSLContext
    server_name: str
    roots: bytes | None = field(default=None, repr=False)  # for gRPC, which does not know the system's; None: its own
    certificate: bytes | None = field(default=None, repr=False)  # for gRPC; with the chain, and maybe the key
    key: bytes | None = field(default=None, repr=False)

    @property
    def has_certificate(self) -> bool:
        return self.certificate is not None


def secure_from_tls(tls: Tls, protocol: str) -> Secure:
    """For "http" or "grpc". Raises UserError for a file that is missing, no PEM, or does not fit the other."""
    ca, certificate = _content("ca_file", tls.ca_file), _content("certificate_file", tls.certificate_file)
    key = _content("key_file", tls.key_file) if str(tls.key_file) else certificate
    try:
        context = ssl.create_default_context(cafile=str(tls.ca_file) or None)
    except ssl.SSLError as err:
        raise UserError(f"tls: ca_file {tls.ca_file} holds no certificate in PEM ({_words(err)})") from err
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN[protocol]])
    if certificate is not None:
        _load(context, tls)
    if protocol == "http":
        return Secure(context, tls.server_name, certificate=certificate)
    return Secure(context, tls.server_name, ca or _system_roots(), certificate, key)


def _content(option: str, path: str | Path) -> bytes | None:
    if not str(path):
        return None
    try:
        return Path(path).read_bytes()
    except OSError as err:
        raise UserError(f"tls: {option} {path} cannot be read ({err.strerror}): write the path of a PEM file") from err


def _load(context: ssl.SSLContext, tls: Tls) -> None:
    def no_prompt() -> NoReturn:
        raise UserError(
            f"tls: the key in {tls.key_file or tls.certificate_file} has a passphrase: give a key without one, for "
            "example from `openssl pkey`, in a file that only its owner can read"
        )

    try:
        context.load_cert_chain(tls.certificate_file, tls.key_file or None, no_prompt)
    except ssl.SSLError as err:
        if err.reason == "KEY_VALUES_MISMATCH":
            words = f"key_file {tls.key_file or tls.certificate_file} is not the key of {tls.certificate_file}"
            raise UserError(f"tls: {words}: give the key that belongs to it") from err
        files = " and ".join(str(path) for path in (tls.certificate_file, tls.key_file) if str(path))
        raise UserError(
            f"tls: {files}: these must hold a certificate and its key in PEM, in one file or two ({_words(err)})"
        ) from err


def _system_roots() -> bytes | None:
    """The authorities that OpenSSL trusts, SSL_CERT_FILE and SSL_CERT_DIR included; gRPC has another list."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return Path(paths.cafile).read_bytes()
    hashed = sorted(Path(paths.capath).glob("*.[0-9]")) if paths.capath else []
    return b"\n".join(path.read_bytes() for path in hashed) or None


def error_from_ssl(url: str, err: ssl.SSLError, secure: Secure) -> InferenceError | None:
    """The error for a failed handshake; None where only the connection ended."""
    if isinstance(err, ssl.SSLCertVerificationError):
        return TlsError(f"{url}: {_about_server(err, secure)}")
    reason = err.reason or ""
    if "NO_APPLICATION_PROTOCOL" in reason:
        return wrong_protocol(url)
    if "ALERT" in reason and any(word in reason for word in _ABOUT_US):
        return TlsError(f"{url}: {_about_us(secure)} ({_words(err)})")
    if "PROTOCOL_VERSION" in reason or "UNSUPPORTED_PROTOCOL" in reason:
        return TlsError(f"{url}: the server speaks no TLS of 1.2 or later: update it")
    if reason in _NO_TLS:
        return no_tls(url)
    if isinstance(err, ssl.SSLEOFError) or not reason:
        return None
    return TlsError(f"{url}: no secure connection ({_words(err)})")


def refused_without_a_word(url: str, secure: Secure) -> TlsError:
    """The error for an end just after a handshake; gRPC's own servers say no more to a caller they do not trust."""
    return TlsError(f"{url}: {_about_us(secure)} (it ended the connection after the handshake)")


def _about_server(err: ssl.SSLCertVerificationError, secure: Secure) -> str:
    code, reason = err.verify_code, err.verify_message
    if code in _OTHER_NAMES:
        return (
            f"the server's certificate is for another name ({reason.rstrip('.')}); use a name it has in the "
            "URL, or give one by Tls(server_name=...) if you know the server to be the right one"
        )
    if code in (_EXPIRED, _NOT_YET):
        return f"the server's {reason}: renew it, or set this machine's clock right"
    return f"the server's certificate is not trusted ({reason}); give its authority's certificate by Tls(ca_file=...)"


def _about_us(secure: Secure) -> str:
    if secure.has_certificate:
        return "the server does not accept our certificate: give a valid one, of an authority that it trusts"
    return "the server requires a certificate of its callers: give Tls(certificate_file=..., key_file=...)"


def _words(err: ssl.SSLError) -> str:
    """ "tlsv13 alert certificate required" of OpenSSL's line."""
    return (err.reason or str(err)).replace("_", " ").lower()
