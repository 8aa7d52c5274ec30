"""Only the owner may read it: one rule for keys, databases, secrets and prepared code."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.gateway.secret import secret_of
from ai102.issuer import private as private_of_issuer
from ai102.masking import keys as masking_keys
from ai102.masking.rules import Salt, Seal
from ai102_runtime.seal.envelope import SealError
from ai102_runtime.seal.keys import KeysError, keys_from_folder
from ai102_runtime.seal.private import NotPrivateError, private_file, private_folder, read_private, refuse_shared
from ai102_runtime.seal.replay import OnThisHost

NOBODY = 65534
SECRET = "A" * 43 + "="
# Owner, group and mode of a file, and whether its content may be used by a process of the user 0.
RULE = [
    (0, 0, 0o600, True),
    (0, 0, 0o400, True),
    (0, 0, 0o700, True),
    (0, 0, 0o640, False),
    (0, 0, 0o620, False),
    (0, 0, 0o604, False),
    (0, 0, 0o602, False),
    (NOBODY, 0, 0o600, False),
]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
@pytest.mark.parametrize(("owner", "group", "mode", "is_private"), RULE)
def test_the_rule(owner: int, group: int, mode: int, is_private: bool, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s")
    os.chown(file, owner, group)
    file.chmod(mode)
    if is_private:
        assert read_private(file, 10) == b"s"
        return
    with pytest.raises(NotPrivateError) as caught:
        read_private(file, 10)
    assert ("\n" in str(caught.value), "run `ch" in str(caught.value)) == (False, True)


@pytest.mark.parametrize(
    ("mode", "is_private"), [(0o440, True), (0o640, True), (0o750, True), (0o460, False), (0o444, False)]
)
def test_a_file_of_root_may_be_read_by_our_group_as_secret_stores_mount_it(
    mode: int, is_private: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text("s")
    file.chmod(mode)
    facts = os.stat_result((file.stat().st_mode, 0, 0, 1, 0, 0, 1, 0, 0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if is_private:
        refuse_shared(file, facts)
    else:
        with pytest.raises(NotPrivateError):
            refuse_shared(file, facts)


# What opens each private file of the project, by the file's place.
USERS: dict[str, Callable[[Path], object]] = {
    "k.key": lambda file: keys_from_folder(file.parent),
    "masking.key": lambda file: masking_keys.key(Seal(folder=file.parent), "masking", {}),
    "salt": lambda file: masking_keys.salt(Salt(file=file), {}),
    "gateway": secret_of,
    "issuer": private_of_issuer.file,
    "replay/seen.sqlite": lambda file: OnThisHost(file.parent),
}


@pytest.mark.parametrize("name", USERS)
@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604])
def test_every_one_of_them_is_refused_when_others_may_read_or_write_it(name: str, mode: int, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    if name != "replay/seen.sqlite":
        file.write_text(SECRET)
        file.chmod(mode)
    else:
        file.parent.chmod(mode | 0o100)  # the folder is what is private there
    with pytest.raises((UserError, KeysError, SealError)) as caught:
        USERS[name](file)
    line = getattr(caught.value, "detail", str(caught.value))
    assert "so others may read or write it: run `chmod go-rwx" in line
    assert "\n" not in line
    assert SECRET[:8] not in line


def test_what_is_made_is_private_from_the_start_and_left_as_it_is_when_it_exists(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "a" / "b")
    file = private_file(folder / "f")
    file.write_text("kept")
    assert (private_folder(folder), private_file(file), file.read_text()) == (folder, file, "kept")
    assert [oct(path.stat().st_mode & 0o777) for path in (folder, file)] == ["0o700", "0o600"]


@pytest.mark.parametrize("what", ["a link", "a folder", "a pipe"])
def test_a_private_file_is_a_regular_one(what: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    match what:
        case "a link":
            place.symlink_to(private_file(tmp_path / "file"))
        case "a folder":
            place.mkdir(mode=0o700)
        case "a pipe":
            os.mkfifo(place, 0o600)
    with pytest.raises(NotPrivateError, match="not a regular file: move it away"):
        private_file(place)
