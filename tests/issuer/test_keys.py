"""Signing keys: their files, their ids, and what verifies while they rotate."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ai102.errors import UserError
from ai102.issuer.keys import Keys, thumbprint
from ai102.issuer.settings import Settings

from .conftest import START_S, Clock

SETTINGS = Settings(publish_ahead_s=10)
LIFETIME_S = SETTINGS.token_lifetime_s
# The example of RFC 7638, 3.1.
RFC_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
    "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ"
    "vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)


@pytest.fixture
def clock() -> Clock:
    return Clock(START_S)


@pytest.fixture
def keys(tmp_path: Path, clock: Clock, made_keys: Path) -> Keys:
    shutil.copytree(made_keys, tmp_path / "keys")
    return Keys(tmp_path / "keys", SETTINGS, clock)


def published(keys: Keys) -> list[str]:
    return [key["kid"] for key in json.loads(keys.jwks().body)["keys"]]


def test_a_key_is_named_by_its_rfc_7638_thumbprint() -> None:
    n = int.from_bytes(base64.urlsafe_b64decode(RFC_N + "=="), "big")
    assert thumbprint(rsa.RSAPublicNumbers(65537, n).public_key()) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_nobody_else_may_read_a_key(keys: Keys) -> None:
    modes = {oct(stat.S_IMODE(path.stat().st_mode)) for path in keys.folder.iterdir()}
    assert (oct(stat.S_IMODE(keys.folder.stat().st_mode)), modes) == ("0o700", {"0o600"})


def test_the_jwks_holds_what_any_library_verifies_with_and_nothing_private(keys: Keys) -> None:
    token = jwt.encode({"sub": "x"}, keys.signing().private, algorithm="RS256", headers={"kid": keys.signing().kid})
    document = json.loads(keys.jwks().body)
    found = jwt.PyJWKSet.from_dict(document)[keys.signing().kid]
    assert (jwt.decode(token, found, algorithms=["RS256"]), [sorted(key) for key in document["keys"]]) == (
        {"sub": "x"},
        [["alg", "e", "kid", "kty", "n", "use"]],
    )


def test_a_new_key_is_published_before_it_signs_and_the_former_until_its_last_token_has_expired(
    keys: Keys, clock: Clock
) -> None:
    old = keys.signing().kid
    new = keys.rotate().kid
    seen = []
    for later_s in (0, 9, 10, 10 + LIFETIME_S + 59, 10 + LIFETIME_S + 60):
        clock.now_s = START_S + later_s
        names = {old: "old", new: "new"}
        seen.append((names[keys.signing().kid], [names[kid] for kid in published(keys)]))
    both = ["old", "new"]
    assert seen == [("old", both), ("old", both), ("new", both), ("new", both), ("new", ["new"])]


def test_a_running_issuer_sees_what_another_process_rotated(keys: Keys, clock: Clock) -> None:
    new = Keys(keys.folder, SETTINGS, clock).rotate(at_once=True).kid
    assert (keys.signing().kid, len(published(keys))) == (new, 2)


def test_two_keys_at_most_are_valid_and_the_file_of_a_dead_one_is_gone(keys: Keys, clock: Clock) -> None:
    first = keys.signing().kid
    keys.rotate()
    with pytest.raises(UserError, match=r"still verifies tokens until 2027-01-15 10:01:10 UTC"):
        keys.rotate()
    clock.move(LIFETIME_S + 100)
    keys.rotate()
    assert (len(published(keys)), (keys.folder / f"{first}.pem").exists()) == (2, False)


def test_dropping_the_old_ends_them_at_once(keys: Keys) -> None:
    keys.rotate()
    new = keys.rotate(drop_old=True).kid
    assert (published(keys), keys.signing().kid, [path.stem for path in keys.folder.glob("*.pem")]) == (
        [new],
        new,
        [new],
    )


def test_of_issuers_that_start_at_once_all_take_the_same_key(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(Keys(tmp_path / "keys", SETTINGS).signing().kid)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found))) == (4, 1)


class Interrupted(Keys):
    """Between its look at the index and its use of a key, others drop the old keys and look at the index too."""

    is_interrupted = False

    def _load(self) -> Any:
        index = super()._load()
        if self.is_interrupted:
            Keys(self.folder, SETTINGS).rotate(drop_old=True)
            super()._load()
        return index


@pytest.mark.parametrize("use", [Keys.signing, Keys.jwks, lambda keys: keys.verifying("x")])
def test_keys_that_are_dropped_in_the_middle_of_a_call_do_not_disturb_it(
    keys: Keys, use: Callable[[Keys], object]
) -> None:
    interrupted = Interrupted(keys.folder, SETTINGS)
    interrupted.is_interrupted = True
    use(interrupted)
    interrupted.is_interrupted = False
    assert len(published(interrupted)) == 1


def spoil(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: next(folder.glob(name)).write_bytes(content)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "readable key": (lambda folder: next(folder.glob("*.pem")).chmod(0o644), "its mode is 0644, so others may read"),
    "readable folder": (lambda folder: folder.chmod(0o755), "its mode is 0755, so others may read"),
    "no key in the file": (spoil("*.pem", b"-----BEGIN NOTHING-----"), "not a private key in PEM"),
    "another key": (lambda folder: swap(folder), "not the RSA key its name says"),
    "key missing": (lambda folder: next(folder.glob("*.pem")).unlink(), "no such file"),
    "broken index": (spoil("keys.json", b"{"), "not an index of keys"),
    "empty index": (spoil("keys.json", b'{"keys": []}'), "no key that may sign"),
}


def swap(folder: Path) -> None:
    other = Keys(folder.with_name("other"), SETTINGS)
    pem = next(other.folder.glob("*.pem")).read_bytes()
    next(folder.glob("*.pem")).write_bytes(pem)


@pytest.mark.parametrize("how", SPOILT)
def test_spoilt_files_are_refused_in_one_line(keys: Keys, how: str) -> None:
    work, message = SPOILT[how]
    work(keys.folder)
    with pytest.raises(UserError, match=message) as caught:
        Keys(keys.folder, SETTINGS)
    assert "\n" not in str(caught.value)
