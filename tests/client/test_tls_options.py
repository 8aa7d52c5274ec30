"""What may be wrong with the options for TLS is said in one line, before anything connects."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ai102.client import Client, Tls
from ai102.errors import UserError
from ai102.gateway import certs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities' files, and a few that are not what they should be."""
    root = tmp_path_factory.mktemp("tls")
    for name in ("ours", "others"):
        certs.make(root / name)
        certificate, _, key = (root / name / "client.pem").read_text().partition("-----BEGIN PRIVATE KEY")
        (root / name / "client.crt").write_text(certificate)
        (root / name / "client.key").write_text("-----BEGIN PRIVATE KEY" + key)
    (root / "nothing.pem").write_text("nothing")
    command = ["openssl", "pkey", "-in", root / "ours" / "client.key", "-aes256", "-passout", "pass:x"]
    (root / "locked.key").write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return root


WRONG: dict[str, tuple[Callable[[Path], Tls], str]] = {
    "no such authority": (lambda f: Tls(ca_file=f / "none.pem"), "ca_file .*none.pem cannot be read"),
    "an authority that is none": (lambda f: Tls(ca_file=f / "nothing.pem"), "holds no certificate in PEM"),
    "no such certificate": (lambda f: Tls(certificate_file=f / "none.pem"), "certificate_file .* cannot be read"),
    "a folder": (lambda f: Tls(certificate_file=f), "Is a directory"),
    "a key alone": (lambda f: Tls(key_file=f / "ours" / "client.key"), "there is no certificate_file"),
    "a certificate alone": (lambda f: Tls(certificate_file=f / "ours" / "client.crt"), "a certificate and its key"),
    "no such key": (
        lambda f: Tls(certificate_file=f / "ours" / "client.crt", key_file=f / "none.pem"),
        "key_file .* cannot be read",
    ),
    "the key of another": (
        lambda f: Tls(certificate_file=f / "ours" / "client.crt", key_file=f / "others" / "client.key"),
        "is not the key of",
    ),
    "a key with a passphrase": (
        lambda f: Tls(certificate_file=f / "ours" / "client.crt", key_file=f / "locked.key"),
        "has a passphrase",
    ),
}


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_said_in_one_line(scheme: str, case: str, folder: Path) -> None:
    make, words = WRONG[case]
    with pytest.raises(UserError, match=words) as caught:
        Client(f"{scheme}://127.0.0.1:1", tls=make(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_tls_with_a_url_without_is_refused(scheme: str) -> None:
    with pytest.raises(UserError, match=f"write {scheme}s://"):
        Client(f"{scheme}://127.0.0.1:1", tls=Tls())


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_certificate_and_key_may_be_two_files(scheme: str, folder: Path) -> None:
    ours = folder / "ours"
    tls = Tls(ca_file=ours / "ca.pem", certificate_file=str(ours / "client.crt"), key_file=ours / "client.key")
    Client(f"{scheme}://127.0.0.1:1", tls=tls).close()
