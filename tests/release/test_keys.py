"""Keys are made once and stay private; only what a known key signed counts, and a false signature is refused."""

import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ai102.errors import UserError
from ai102.release import keys
from ai102.release.envelope import Envelope
from ai102.release.trust import trusted
from tests.release.documents import BUILT, release

AT = "2026-11-29T12:01:00+00:00"


def folder_of(tmp_path: Path, *names: str) -> Path:
    """Public keys of these names, whose private files lie in `tmp_path`."""
    folder = tmp_path / "known"
    folder.mkdir(exist_ok=True)
    for name in names:
        keys.new(tmp_path / name)
        keys.public_file(tmp_path / name).rename(folder / f"{name}.pub")
    return folder


def test_a_new_key_is_private_and_its_public_half_is_not(tmp_path: Path) -> None:
    signer = keys.new(tmp_path / "ann")
    assert stat.S_IMODE((tmp_path / "ann").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ann.pub").stat().st_mode) == 0o644
    assert keys.signer(tmp_path / "ann").key_id == signer.key_id
    assert list(keys.known(tmp_path)) == [signer.key_id]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ann", "ann.pub"]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    keys.new(tmp_path / "ann")
    before = (tmp_path / "ann").read_bytes()
    with pytest.raises(UserError, match=r"ann\.pub: there is a key already: name another file"):
        keys.new(tmp_path / "ann")
    (tmp_path / "ann.pub").unlink()
    with pytest.raises(UserError, match="ann: there is a key already: name another file"):
        keys.new(tmp_path / "ann")
    assert (tmp_path / "ann").read_bytes() == before


def test_what_is_no_private_key_of_ours_is_one_line(tmp_path: Path) -> None:
    keys.new(tmp_path / "ann")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    formats = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    contents = {
        "empty": (b"", "holds no private key in PEM"),
        "public": ((tmp_path / "ann.pub").read_bytes(), "holds no private key in PEM"),
        "rsa": (key.private_bytes(*formats, serialization.NoEncryption()), "is no Ed25519 key"),
        "locked": (
            Ed25519PrivateKey.generate().private_bytes(*formats, serialization.BestAvailableEncryption(b"secret")),
            "it wants a password, which is not supported",
        ),
    }
    for name, (content, message) in contents.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
        with pytest.raises(UserError, match=message):
            keys.signer(tmp_path / name)
    (tmp_path / "ann").chmod(0o640)
    with pytest.raises(UserError, match="its mode is 0640, so others may read or write it: run `chmod go-rwx"):
        keys.signer(tmp_path / "ann")
    with pytest.raises(UserError, match="no such file: `ai102 release key new --out"):
        keys.signer(tmp_path / "bob")


def test_a_broken_public_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "eve.pub").write_text("what")
    with pytest.raises(UserError, match=r"eve\.pub: holds no public key in PEM"):
        keys.known(tmp_path)


def test_only_a_known_signature_counts(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "ann", "bob")
    known, eve = keys.known(folder), keys.new(tmp_path / "eve")
    ids = {each.name: key for key, each in known.items()}
    envelope = Envelope(release(), BUILT)
    with pytest.raises(UserError, match=f"signed by nobody; known keys in {folder}: ") as refused:
        trusted(envelope, known, folder)
    assert f"{ids['ann']} (ann)" in str(refused.value)
    by_eve = envelope.signed(eve, AT, "eve")
    with pytest.raises(UserError, match=re.escape(f"signed by {eve.key_id} (by eve, {AT})")):
        trusted(by_eve, known, folder)
    by_both = by_eve.signed(keys.signer(tmp_path / "bob"), AT, "bob")
    assert [each.key for each in trusted(by_both, known, folder)] == [ids["bob"]]
    with pytest.raises(UserError, match=r"known keys in .*: none"):
        trusted(by_both, {}, folder)


def test_a_key_signs_once(tmp_path: Path) -> None:
    ann = keys.new(tmp_path / "ann")
    signed = Envelope(release(), BUILT).signed(ann, AT, "ann")
    assert signed.signed(ann, "later", "ann") is signed


@pytest.mark.parametrize("what", ["document", "built", "signer", "time", "signature", "no hex"])
def test_a_signature_of_another_text_is_refused(tmp_path: Path, what: str) -> None:
    folder = folder_of(tmp_path, "ann")
    good = Envelope(release(), BUILT).signed(keys.signer(tmp_path / "ann"), AT, "ann")
    (signature,) = good.signatures
    forged = {
        "document": replace(good, release=release("c")),
        "built": replace(good, built=BUILT.model_copy(update={"by": "eve"})),
        "signer": replace(good, signatures=(signature.model_copy(update={"by": "eve"}),)),
        "time": replace(good, signatures=(signature.model_copy(update={"at": "earlier"}),)),
        "signature": replace(good, signatures=(signature.model_copy(update={"signature": "0" * 128}),)),
        "no hex": replace(good, signatures=(signature.model_copy(update={"signature": "what"}),)),
    }[what]
    with pytest.raises(UserError, match=r"the signature of ann \([0-9a-f]{16}\) is not of this text"):
        trusted(forged, keys.known(folder), folder)
