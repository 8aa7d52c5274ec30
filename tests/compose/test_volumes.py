"""A volume is filled from an image; the Docker client here is a script that writes an archive as Docker's own does."""

import io
import sys
import tarfile
from pathlib import Path

import pytest

from ai102.compose.volumes import fill_models_volume
from ai102.images.docker import Docker

# `cp SOURCE -` writes the archive at once and its two last blocks of zeros after it. A broken pipe ends it without a
# word, as it does Docker's client.
CLIENT = """\
#!{python}
import os, signal, sys, time
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
arguments = sys.argv[1:]
if arguments[0] == "image":
    print("sha256:" + 64 * "a")
elif arguments[0] == "cp" and arguments[1] == "-":
    target = "volume.tar" if not os.path.exists("{folder}/volume.tar") else "mark.tar"
    open("{folder}/" + target, "wb").write(sys.stdin.buffer.read())
elif arguments[0] == "cp" and arguments[1].endswith(".complete"):
    sys.exit(1)
elif arguments[0] == "cp":
    out = sys.stdout.buffer
    out.write(open("{folder}/image.tar", "rb").read())
    for _ in range(2):
        out.write(512 * b"\\0")
        out.flush()
        time.sleep(0.2)
else:
    print("name")
"""


@pytest.mark.parametrize("blocks", [17, 18, 19, 20])  # tarfile reads 20 at a time
def test_a_volume_is_filled_wherever_the_archive_ends(blocks: int, tmp_path: Path) -> None:
    content = bytes(512 * (blocks - 1))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("model")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    (tmp_path / "image.tar").write_bytes(buffer.getvalue()[: 512 * blocks])
    client = tmp_path / "docker"
    client.write_text(CLIENT.format(python=sys.executable, folder=tmp_path))
    client.chmod(0o755)
    volume, was_filled = fill_models_volume(Docker(str(client)), "models", "helper")
    assert (volume, was_filled) == ("ai102-models-aaaaaaaaaaaa", True)
    with tarfile.open(tmp_path / "volume.tar") as archive:
        assert archive.getnames() == ["model"]
