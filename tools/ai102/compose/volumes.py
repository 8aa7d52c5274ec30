"""Docker volumes of the stack: the models, filled from their image by its digest; state that outlives containers."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager

from ai102.errors import UserError
from ai102.images.docker import Docker, complaint_of

# Of the image's digest, in the volume's name.
DIGITS = 12
# In a volume that is filled; Triton looks at folders only.
COMPLETE = ".complete"
DRAINED_BYTES = 1 << 16
OF_DOCKER = (".dockerenv", "dev", "etc", "proc", "sys")


def models_volume(image_id: str) -> str:
    """The name of the volume for a models image."""
    return f"ai102-models-{image_id.removeprefix('sha256:')[:DIGITS]}"


def fill_models_volume(docker: Docker, models_image: str, helper_image: str) -> tuple[str, bool]:
    """The volume with the content of `models_image`, and whether it was filled now.

    `docker create` and `docker cp` do it; nothing runs. A volume that an earlier call left half-filled is filled again.
    """
    image_id = docker.image_id(models_image)
    if not image_id:
        raise UserError(f"{models_image}: Docker has no such image; run `make image`, or `docker pull` it")
    volume = models_volume(image_id)
    docker.run("volume", "create", "--label", f"ai102.models={image_id}", volume)
    with _created(docker, helper_image, "--volume", f"{volume}:/models") as target:
        if docker.succeeds("cp", f"{target}:/models/{COMPLETE}", "-"):
            return volume, False
        with _created(docker, models_image) as source:
            _copy(docker, f"{source}:/.", f"{target}:/models")
        _put(docker, f"{target}:/models", COMPLETE, f"{image_id}\n".encode())
    return volume, True


def make_state_volume(docker: Docker, name: str, path: str, image: str, uid: int, gid: int) -> None:
    """A volume with the content and owner of `path` in `image`, owned by `uid` where that is another."""
    if docker.succeeds("volume", "inspect", name):
        return
    docker.run("volume", "create", name)
    command = ["run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "chown", "--volume", f"{name}:{path}"]
    docker.run(*command, image, f"{uid}:{gid}", path)


@contextmanager
def _created(docker: Docker, image: str, *options: str) -> Iterator[str]:
    """A container that is never started; removed at the end."""
    container = docker.run("create", *options, image, "none")
    try:
        yield container
    finally:
        docker.run("rm", "--force", container)


def _copy(docker: Docker, source: str, target: str) -> None:
    """Copy what the image holds, without what Docker puts into every container."""
    reading = docker.popen("cp", source, "-")
    writing = docker.popen("cp", "-", target, stdin=subprocess.PIPE)
    assert reading.stdout is not None
    assert writing.stdin is not None
    try:
        with (
            reading.stdout as content,
            writing.stdin as sink,
            tarfile.open(fileobj=content, mode="r|") as image,
            tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as volume,
        ):
            for member in image:
                top = member.name.removeprefix("./").partition("/")[0]
                if top and top not in OF_DOCKER:
                    volume.addfile(member, image.extractfile(member) if member.isfile() else None)
            while content.read(DRAINED_BYTES):
                pass  # a client whose last zeros nobody reads ends by SIGPIPE
    except (BrokenPipeError, tarfile.ReadError):
        pass  # one of the two says why below
    for process in (reading, writing):
        _check_ended(process, f"docker cp from {source} to {target}")


def _check_ended(process: subprocess.Popen[bytes], action: str) -> None:
    assert process.stderr is not None
    stderr = process.stderr.read().decode("utf-8", "replace")
    if process.wait():
        raise UserError(f"{action} failed: {complaint_of(stderr)}")


def _put(docker: Docker, target: str, name: str, content: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o644
        archive.addfile(member, io.BytesIO(content))
    writing = docker.popen("cp", "-", target, stdin=subprocess.PIPE)
    assert writing.stdin is not None
    with writing.stdin as sink:
        sink.write(buffer.getvalue())
    _check_ended(writing, f"docker cp to {target}")
