"""Ed25519 keys: made once, private files, and a folder of the public keys whose signatures count."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ai102.errors import UserError
from ai102_runtime.seal.private import NotPrivateError, read_private

PUBLIC = ".pub"
ID_DIGITS = 16
MOST_BYTES = 4096


@dataclass(frozen=True)
class Signer:
    """A private key; `key_id` is the start of the sha256 of the 32 bytes of its public half."""

    key: Ed25519PrivateKey

    @property
    def key_id(self) -> str:
        return id_of(self.key.public_key())

    def signature(self, content: bytes) -> str:
        """128 hex digits."""
        return self.key.sign(content).hex()


@dataclass(frozen=True)
class Known:
    """A public key of the folder, by the name of its file."""

    name: str
    key: Ed25519PublicKey

    @property
    def key_id(self) -> str:
        return id_of(self.key)

    def has_signed(self, content: bytes, signature: str) -> bool:
        try:
            self.key.verify(bytes.fromhex(signature), content)
        except (InvalidSignature, ValueError):
            return False
        return True


def id_of(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:ID_DIGITS]


def new(file: Path) -> Signer:
    """Write the private key to `file` (mode 0600) and the public one beside it; neither may be there."""
    public = public_file(file)
    if public.exists():
        raise UserError(f"{public}: there is a key already: name another file")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_new(file, pem, 0o600)
    shared = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write_new(public, shared, 0o644)
    return Signer(key)


def public_file(file: Path) -> Path:
    return file.with_name(file.name + PUBLIC)


def signer(file: Path) -> Signer:
    """The private key in that file. Raises UserError when others may read it, or it is no such key."""
    try:
        key = serialization.load_pem_private_key(read_private(file, MOST_BYTES), password=None)
    except FileNotFoundError as err:
        raise UserError(f"{file}: no such file: `ai102 release key new --out {file}` makes a key") from err
    except IsADirectoryError as err:
        raise UserError(f"{file}: is a folder: name the file of a private key") from err
    except NotPrivateError as err:
        raise UserError(f"{err}, and make a new key if somebody may have read it") from err
    except TypeError as err:
        raise UserError(f"{file}: it wants a password, which is not supported: keep it in a store of secrets") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise UserError(f"{file}: holds no private key in PEM: name one that `ai102 release key new` made") from err
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"{file}: is no Ed25519 key: name one that `ai102 release key new` made")
    return Signer(key)


def known(folder: Path) -> dict[str, Known]:
    """The public keys of the folder by their ids; none where there is no folder. Raises UserError for another file."""
    keys = [_known(file) for file in sorted(folder.glob(f"*{PUBLIC}"))]
    return {key.key_id: key for key in keys}


def _known(file: Path) -> Known:
    try:
        key = serialization.load_pem_public_key(file.read_bytes())
    except (ValueError, UnsupportedAlgorithm) as err:
        raise UserError(f"{file}: holds no public key in PEM: remove it, or write the key anew") from err
    if not isinstance(key, Ed25519PublicKey):
        raise UserError(f"{file}: is no Ed25519 key: remove it")
    return Known(file.name.removesuffix(PUBLIC), key)


def _write_new(file: Path, content: bytes, mode: int) -> None:
    """Never over another file, and never seen by others with less than its mode."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{os.urandom(4).hex()}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.link(temporary, file)
    except FileExistsError as err:
        raise UserError(f"{file}: there is a key already: name another file") from err
    finally:
        temporary.unlink(missing_ok=True)
