"""Logs are followed through everything that happens to files: no line lost, none twice, none in halves."""

import errno
import json
import os
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.logs.follow import files, follower, positions
from ai102.logs.follow.spool import Spool, segments
from tests.logs.conftest import Follow, documents, messages


def write(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_lines_are_masked_and_whole(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, "first 13800138000\nsecond is not who")
    following = follow()
    assert following.read() == ["first [phone]"]
    write(log, "le yet")
    assert following.read() == ["first [phone]"]
    write(log, ", 13800138000\r\n\nthird\n")
    assert following.read() == ["first [phone]", "second is not whole yet, [phone]", "third"]
    first = documents(tmp_path / "spool")[0]
    assert first["log"] == {"file": {"path": str(log)}, "level": "info", "offset": 0}
    assert (first["service"], first["event"]["id"].partition("-")[2]) == ({"name": "a"}, "0")


def test_a_file_that_appears_later_is_found(follow: Follow, tmp_path: Path) -> None:
    following = follow()
    assert following.read() == []
    write(tmp_path / "later.log", "here\n")
    assert following.read() == ["here"]


def test_rotation_by_rename_loses_nothing_and_repeats_nothing(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, "1\n2\n")
    following = follow()
    following.read()
    write(log, "3\n")
    log.rename(tmp_path / "a.log.1")
    write(log, "4\n")
    following.read()
    write(tmp_path / "a.log.1", "written late\nno end")
    following.read()
    following.leave_alone()
    assert sorted(following.read()) == ["1", "2", "3", "4", "no end", "written late"]
    assert len(following.follower._sources) == 1


def test_two_rotations_between_two_looks_lose_nothing(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, "1\n")
    following = follow()
    following.read()
    log.rename(tmp_path / "a.log.2")
    write(log, "2\n")
    log.rename(tmp_path / "a.log.1")
    write(log, "3\n")
    assert sorted(following.read()) == ["1", "2", "3"]


def test_a_file_that_came_and_was_renamed_between_two_looks_is_found(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, "1\n")
    following = follow()
    following.read()
    log.rename(tmp_path / "a.log.2")
    following.read()
    write(log, "2\n")
    log.rename(tmp_path / "a.log.1")
    assert following.read() == ["1", "2"]
    following = follow()
    write(log, "3\n")
    log.rename(tmp_path / "a.log.3")
    assert following.read() == ["1", "2", "3"]


def test_rotations_while_nobody_follows_lose_nothing(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, "1\n")
    following = follow()
    following.read()
    following.follower.close()
    write(log, "2\n")
    log.rename(tmp_path / "a.log.2")
    write(log, "3\n")
    log.rename(tmp_path / "a.log.1")
    write(log, "4\n")
    write(tmp_path / "a.log.1.gz", "not a text")
    assert sorted(follow().read()) == ["1", "2", "3", "4"]


def test_a_rotation_between_finding_and_opening_repeats_nothing(
    follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "a.log"
    write(log, "1\n")
    following = follow()
    following.read()
    following.follower.close()
    write(log, "2\n")

    def opened_too_late(path: Path) -> int | None:
        monkeypatch.undo()
        log.rename(tmp_path / "a.log.1")
        write(log, "3\n")
        return files.opened(path)

    following = follow()
    monkeypatch.setattr(follower, "opened", opened_too_late)
    following.read()
    assert sorted(following.read()) == ["1", "2", "3"]


def test_what_was_rotated_before_the_first_start_is_not_read(follow: Follow, tmp_path: Path) -> None:
    write(tmp_path / "a.log.1", "old\n")
    write(tmp_path / "a.log", "new\n")
    assert follow().read() == ["new"]


def test_a_truncated_file_is_read_from_its_start_under_a_new_id(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, "one\ntwo\nhalf")
    following = follow()
    following.read()
    log.write_text("one\n", encoding="utf-8")
    assert following.read() == ["one", "two", "half", "one"]
    log.write_text("other\nas long as before, or longer\n", encoding="utf-8")  # no smaller than it was
    assert following.read()[-2:] == ["other", "as long as before, or longer"]
    ids = [document["event"]["id"] for document in documents(tmp_path / "spool")]
    assert len(set(ids)) == len(ids) == 6


def test_a_deleted_file_is_read_to_its_end(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, "1\n")
    following = follow()
    following.read()
    write(log, "2\nno end")
    log.unlink()
    following.read()
    following.leave_alone()
    assert following.read() == ["1", "2", "no end"]
    assert following.follower._sources == {}


def test_a_file_with_the_inode_of_another_is_another_file(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, "the first file, long enough\n")
    following = follow()
    following.read()
    following.follower.close()
    log.write_text("x\n", encoding="utf-8")  # the same inode, as after a deletion
    following = follow()
    assert following.read() == ["the first file, long enough", "x"]
    log.rename(tmp_path / "a.log.1")
    write(log, "y\n")
    following.read()
    following.leave_alone()
    os.utime(tmp_path / "a.log.1", (0, 0))
    following.read()
    log.rename(tmp_path / "a.log.2")
    write(log, "z\n")
    assert following.read() == ["the first file, long enough", "x", "y", "z"]


def test_a_kill_at_any_moment_loses_nothing_and_repeats_nothing(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for number in range(50):
        write(log, f"{number}\n")
        if number % 3 == 0:
            follow().read()  # killed by the next: its last positions are those of its start
    assert follow().read() == [str(number) for number in range(50)]


def test_a_half_line_that_a_kill_left_in_the_spool_is_written_anew(follow: Follow, tmp_path: Path) -> None:
    write(tmp_path / "a.log", "1\n2\n")
    follow().read()
    [(_, segment)] = segments(tmp_path / "spool")
    segment.write_bytes(segment.read_bytes()[:-20])
    assert follow().read() == ["1", "2"]


def test_a_full_spool_stops_the_reading_until_some_was_shipped(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(log, "".join(f"{number} {'x' * 1000}\n" for number in range(3000)))
    following = follow(most_bytes=1 << 20)
    read = following.read()
    assert 500 < len(read) < 2000
    assert following.said == [f"the spool {tmp_path / 'spool'} is full: reading stops until a shipper has emptied some"]
    numbers = [message.partition(" ")[0] for message in read]
    while files := segments(tmp_path / "spool")[:-1]:
        for _, path in files:
            path.unlink()
        rest = following.read()
        numbers += [number for message in rest if (number := message.partition(" ")[0]) not in set(numbers)]
        if len(numbers) == 3000:
            break
    assert numbers == [str(number) for number in range(3000)]


def test_a_full_disk_stops_the_reading_and_loses_nothing(
    follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.log", "1\n")
    following = follow()
    following.read()
    monkeypatch.setattr(os, "write", no_space)
    write(tmp_path / "a.log", "2\n")
    following.follower.turn()
    following.follower._save()
    write(tmp_path / "a.log", "3\n")
    following.follower.turn()
    assert following.said == [f"the disk of {tmp_path / 'spool'} is full: reading stops until there is space"]
    monkeypatch.undo()
    assert following.read() == ["1", "2", "3"]


def no_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_stays_full_until_the_end_loses_nothing(
    follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.log", "1\n")
    following = follow()
    following.read()
    write(tmp_path / "a.log", "2\n")
    monkeypatch.setattr(os, "write", no_space)
    following.follower.turn()
    monkeypatch.undo()
    following.follower.close()
    assert follow().read() == ["1", "2"]


def test_a_line_that_is_too_long_becomes_one_that_says_so(follow: Follow, tmp_path: Path) -> None:
    write(tmp_path / "a.log", f"{'1' * 2_000_000}\n{'2' * 9_000_000}\nlast\n")
    read = follow().read()
    assert read[0] == "[a line of 2000000 bytes left out: more than 1048576]"
    assert read[1].startswith("[a line of 9000000 bytes left out")
    assert read[2] == "last"


def test_a_disk_with_another_number_has_the_same_files(follow: Follow, tmp_path: Path) -> None:
    write(tmp_path / "a.log", "1\n")
    following = follow()
    following.read()
    following.follower.close()
    file = tmp_path / "spool" / positions.FILE
    saved = json.loads(file.read_text(encoding="utf-8"))
    saved["positions"][0]["device"] += 1
    file.write_text(json.dumps(saved), encoding="utf-8")
    write(tmp_path / "a.log", "2\n")
    assert follow().read() == ["1", "2"]


def test_positions_that_are_not_ours_are_one_line(follow: Follow, tmp_path: Path) -> None:
    follow().read()
    (tmp_path / "spool" / positions.FILE).write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not the positions of a spool"):
        follow()


def test_one_masker_at_a_time_writes_a_spool(follow: Follow, tmp_path: Path) -> None:
    follow()
    with pytest.raises(UserError, match="another masker writes to"):
        Spool(tmp_path / "spool", 1 << 20)


def test_a_spool_that_others_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir(mode=0o755)
    with pytest.raises(UserError, match="others may read or write it"):
        Spool(tmp_path / "spool", 1 << 20)


DOCKER_ID = "ab" * 32


def docker_line(text: str, stream: str = "stdout") -> str:
    return json.dumps({"log": text, "stream": stream, "time": "2026-11-28T18:40:00.123456789Z"}) + "\n"


def test_dockers_lines_are_unwrapped_and_their_parts_joined_before_masking(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / DOCKER_ID / f"{DOCKER_ID}-json.log"
    log.parent.mkdir()
    write(log, docker_line("tel 1380") + docker_line("error\n", "stderr") + docker_line("0138000\n"))
    write(log, docker_line("half 138"))
    following = follow(str(tmp_path / "*" / "*-json.log"))
    assert following.read() == ["error", "tel [phone]"]
    first = documents(tmp_path / "spool")[0]
    assert (first["@timestamp"], first["labels"]["stream"]) == ("2026-11-28T18:40:00.123456Z", "stderr")
    # Killed, and rotated away, in the middle of a line.
    following = follow(str(tmp_path / "*" / "*-json.log"))
    following.follower.close()
    write(log, docker_line("00138000\n"))
    assert follow(str(tmp_path / "*" / "*-json.log")).read() == ["error", "tel [phone]", "half [phone]"]


def test_lines_of_containerd_are_unwrapped_and_joined_too(follow: Follow, tmp_path: Path) -> None:
    log = tmp_path / f"triton-0_models_server-{DOCKER_ID}.log"
    time = "2026-11-28T18:40:00.123456789+00:00"
    write(log, f"{time} stdout P tel 138\n{time} stderr F other\n{time} stdout F 00138000\n")
    assert follow().read() == ["other", "tel [phone]"]
    assert documents(tmp_path / "spool")[0]["orchestrator"]["namespace"] == "models"


def test_an_escape_hides_nothing_from_the_masker(follow: Follow, tmp_path: Path) -> None:
    secret = "".join(f"\\u{ord(digit):04x}" for digit in "13800138000")
    write(tmp_path / "a.log", f'E1128 18:38:45.285802 26460 pb_stub.cc:714] "tel {secret}"\n')
    write(tmp_path / "a.log", f'{{"message": "tel {secret}"}}\n')
    write(tmp_path / "a.log", f'{{"a": 1, "a": 2, "message": "tel {secret}"}}\n')  # no record: a key stands there twice
    write(tmp_path / "a.log", f"E1128 18:38:45.285802 26460 x.cc:7] \"[request id: {secret}] model '{secret}'\"\n")
    write(tmp_path / "a.log", f'level=error err="{secret}"\n')
    read = follow().read()
    assert read[:2] == ["tel [phone]", "tel [phone]"]
    assert read[2].endswith(f'"message": "tel {secret}"}}')
    assert "13800138000" not in json.dumps(documents(tmp_path / "spool"))


def test_bytes_that_are_no_text_stop_nothing(follow: Follow, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b'\xff\xfe 13800138000\n\x00\x00\n{"m": "\\ud800"}\nlast\n')
    read = follow().read()
    assert (read[0], read[-1], len(read)) == ("\ufffd\ufffd [phone]", "last", 4)
    assert messages(tmp_path / "spool") == read
