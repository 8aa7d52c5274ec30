"""A store lists whole releases alone, keeps each as it was written, and serves two processes at once."""

import errno
import fcntl
import multiprocessing
import os
from pathlib import Path
from unittest.mock import patch

import pytest

from ai102.errors import UserError
from ai102.release import keys, store
from ai102.release.document import Release
from ai102.release.history import Event, History
from ai102.release.store import Store
from tests.release.documents import BUILT, release

AT = "2026-11-29T12:01:00+00:00"


def store_in(folder: Path, known: Path | None = None) -> Store:
    return Store(folder, History(folder / "history.db"), keys.known(known) if known else {})


def whats(kept: Store) -> list[str]:
    return [event.what for event in kept.history.events()]


def add(folder: Path, one: Release, by: str) -> None:
    store_in(folder).add(one, BUILT.model_copy(update={"by": by}), None)


def test_a_release_is_kept_as_it_was_first_built(tmp_path: Path) -> None:
    kept = store_in(tmp_path)
    first, is_new = kept.add(release(), BUILT, None)
    again, is_new_again = kept.add(release(), BUILT.model_copy(update={"by": "bob", "note": "else"}), None)
    assert (is_new, is_new_again, again) == (True, False, first)
    assert kept.get(first.name).built == BUILT
    assert [(event.what, event.who, event.why) for event in kept.history.events()] == [("built", "ann", "a test")]


def test_it_is_signed_while_it_is_built_or_later(tmp_path: Path) -> None:
    kept, ann, bob = store_in(tmp_path / "a"), keys.new(tmp_path / "ann"), keys.new(tmp_path / "bob")
    built, _ = kept.add(release(), BUILT, ann)
    signed, is_new = kept.sign(built.name, bob, AT, "bob")
    again, is_new_again = kept.sign(built.name, bob, "later", "bob")
    assert [each.key for each in signed.signatures] == [ann.key_id, bob.key_id]
    assert (is_new, is_new_again, again) == (True, False, signed)
    assert whats(kept) == ["built", "signed", "signed"]


def test_a_unique_beginning_names_a_release(tmp_path: Path) -> None:
    kept = store_in(tmp_path)
    with pytest.raises(UserError, match="no release r-1: `ai102 release build` writes one"):
        kept.get("r-1")
    names = sorted(kept.add(release(digit), BUILT, None)[0].name for digit in "bcdef")
    for name in names:
        assert kept.get(name).name == kept.get(name[:9]).name == kept.get(name[2:9]).name == name
    with pytest.raises(UserError, match=f'"r-" names no release: there are {", ".join(names)}'):
        kept.get("r-")
    with pytest.raises(UserError, match="no release nine"):
        kept.get("nine")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"dims":[1,8,8]', '"dims":[1,9,9]', "its content is that of r-"),
        ('"limit":98.5', '"limit":9.5', "its content is that of r-"),
        ('"note":"a test"', '"note": "a test"', "it is not spelled as ai102 wrote it"),
        ('"note":"a test"', '"note":"a test","note":"else"', "it is not spelled as ai102 wrote it"),
        ('"signatures":[]', '"signatures":[{}]', "at: field required"),
        ('"signatures":[]', '"signatures":{}', "its signatures are no list"),
        ('{"built"', '{"more":1,"built"', "it is no release"),
        ('{"built"', '"built"', "not a release as ai102 wrote it"),
        ('"format":1', '"format":NaN', "it is no release"),
    ],
)
def test_a_changed_file_is_refused_by_all_that_read_it(tmp_path: Path, old: str, new: str, message: str) -> None:
    kept = store_in(tmp_path)
    good, bad = (kept.add(release(digit), BUILT, None)[0].name for digit in "bc")
    file = tmp_path / f"{bad}.json"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(old, new), encoding="utf-8")
    assert file.read_text(encoding="utf-8") != text
    with pytest.raises(UserError, match=message):
        kept.get(bad)
    with pytest.raises(UserError, match=message):
        kept.sign(bad, keys.new(tmp_path / "ann"), AT, "ann")
    envelopes, problems = kept.all()
    assert [each.name for each in envelopes] == [good]
    assert len(problems) == 1
    assert message in problems[0]


def test_who_built_it_cannot_be_changed_once_it_is_signed(tmp_path: Path) -> None:
    keys.new(tmp_path / "ann")
    kept = store_in(tmp_path / "a", tmp_path)
    name = kept.add(release(), BUILT, keys.signer(tmp_path / "ann"))[0].name
    file = tmp_path / "a" / f"{name}.json"
    file.write_text(file.read_text().replace('"by":"ann","is_checked"', '"by":"eve","is_checked"'))
    with pytest.raises(UserError, match=r"the signature of ann .* is not of this text"):
        kept.get(name)


def test_a_renamed_file_is_refused(tmp_path: Path) -> None:
    kept = store_in(tmp_path)
    name = kept.add(release(), BUILT, None)[0].name
    (tmp_path / f"{name}.json").rename(tmp_path / "r-000000000000.json")
    with pytest.raises(UserError, match=f"its content is that of {name}: somebody has changed or renamed the file"):
        kept.get("r-0")


def test_what_is_no_folder_and_no_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="is no folder: name one by --store"):
            store_in(place).add(release(), BUILT, None)
    (tmp_path / "r-000000000000.json").mkdir()
    with pytest.raises(UserError, match="Is a directory: take it from a backup"):
        store_in(tmp_path).get("r-0")


def killed(folder: Path, before: str) -> None:
    """A build that ends, as by a kill, just before it calls that function of the store."""
    with patch.object(store, before, lambda *_words, **_named: os._exit(9)):
        add(folder, release(), "ann")


@pytest.mark.parametrize(("before", "is_listed"), [("write_bytes", False), ("Event", True)])
def test_what_was_killed_in_the_middle_is_whole_or_not_listed(tmp_path: Path, before: str, is_listed: bool) -> None:
    process = multiprocessing.get_context("fork").Process(target=killed, args=(tmp_path, before))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    kept = store_in(tmp_path)
    assert [each.name for each in kept.all()[0]] == ([release().name] if is_listed else [])
    assert whats(kept) == []
    kept.add(release(), BUILT, None)
    assert whats(kept) == ["built"]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / ".r-000000000000.json.1.abcd"
    leftover.write_text("{")
    kept = store_in(tmp_path)
    assert kept.all() == ([], [])
    kept.add(release(), BUILT, None)
    assert not leftover.exists()


def test_two_at_once_are_safe(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    makers = [
        context.Process(target=add, args=(tmp_path, release(digit), by)) for digit in "bc" for by in ("ann", "bob")
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
    assert [maker.exitcode for maker in makers] == [0] * len(makers)
    kept = store_in(tmp_path)
    envelopes, problems = kept.all()
    assert (len(envelopes), problems) == (2, [])
    rows = sorted((event.release, event.what, event.who) for event in kept.history.events())
    assert rows == sorted((each.name, "built", each.built.by) for each in envelopes)


def test_while_one_writes_others_wait(tmp_path: Path) -> None:
    def written(*_words: object) -> None:
        place = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(place)

    with patch.object(store, "write_bytes", side_effect=written) as writer:
        store_in(tmp_path).add(release(), BUILT, None)
    assert writer.call_count == 1


def test_a_store_that_may_only_be_read_is_read_and_not_written(tmp_path: Path) -> None:
    kept = store_in(tmp_path)
    name = kept.add(release(), BUILT, None)[0].name
    refused = OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path))
    with patch.object(store, "write_bytes", side_effect=refused), pytest.raises(UserError) as raised:
        kept.add(release("c"), BUILT, None)
    assert str(raised.value) == (
        f"{tmp_path}: Read-only file system: give this user the right to write there, or name another by --store"
    )
    assert [each.name for each in kept.all()[0]] == [name]


def test_events_stand_after_those_of_the_file(tmp_path: Path) -> None:
    kept = store_in(tmp_path)
    name = kept.add(release(), BUILT, None)[0].name
    (tmp_path / "history.db").unlink()  # as where the file was copied from another store
    kept.record(Event(AT, name, "judged", "gate", outcome="failed", detail={"top1": 0.4}))
    assert whats(kept) == ["built", "judged"]
    assert kept.history.events(name)[1].detail == {"top1": 0.4}
