"""An image is named by its digest alone; what `ai102 image push` printed names both."""

from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.release.references import by_digest, pushed, short

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "f" * 64


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (f"reg.example:5000/ai102/server@{DIGEST}", f"reg.example:5000/ai102/server@{DIGEST}"),
        (f"reg.example:5000/ai102/server:0.2.0@{DIGEST}", f"reg.example:5000/ai102/server@{DIGEST}"),
        (f"ai102/server@{DIGEST}", f"ai102/server@{DIGEST}"),
    ],
)
def test_a_tag_beside_the_digest_is_dropped(reference: str, expected: str) -> None:
    assert by_digest(reference, "--server") == expected


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "reg.example:5000/ai102/server:0.2.0",
            "names no digest, and a tag may name another image tomorrow: write reg",
        ),
        ("ai102/server", "write ai102/server@sha256:..., which `ai102 image push` prints"),
        ("", "write NAME@sha256:"),
        ("ai102/server@sha256:12", "a digest is sha256: and 64 hex digits"),
        (f"ai102/server@{DIGEST.upper()}", "a digest is sha256: and 64 hex digits"),
        (f"@{DIGEST}", '"" is no name of an image'),
        (f"https://reg/server@{DIGEST}", "is no name of an image"),
        (f"a b@{DIGEST}", "is no name of an image"),
    ],
)
def test_what_names_no_digest_is_one_line(reference: str, message: str) -> None:
    with pytest.raises(UserError, match="--server") as refused:
        by_digest(reference, "--server")
    assert message in str(refused.value)


def test_what_was_pushed_names_both_images(tmp_path: Path) -> None:
    file = tmp_path / "pushed.txt"
    lines = [
        "built ai102/server:0.2.0",
        f"pushed reg.example:5000/ai102/server:0.2.0@{OTHER}",
        f"pushed reg.example:5000/ai102/server:0.2.0@{DIGEST}",
        f"pushed reg.example:5000/ai102/gateway:0.2.0@{DIGEST}",
        f"pushed reg.example:5000/ai102/models:4f1c@{OTHER}",
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert pushed(file) == (f"reg.example:5000/ai102/server@{DIGEST}", f"reg.example:5000/ai102/models@{OTHER}")
    file.write_text("\n".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(UserError, match=r"has none of the lines .*: name the image by --models"):
        pushed(file)
    file.write_text("\n".join([*lines, f"pushed reg.example/ai102/server-gpu:1@{DIGEST}"]), encoding="utf-8")
    with pytest.raises(UserError, match=r"has 2 of the lines .*: name the image by --server"):
        pushed(file)
    with pytest.raises(UserError, match=r"cannot be read .*: name what `ai102 image push` printed"):
        pushed(tmp_path / "nothing")


def test_a_short_name_tells_images_apart() -> None:
    assert short(f"reg.example:5000/ai102/server@{DIGEST}") == "server@0123456789ab"
    assert short("reg.example:5000/ai102/server:0.2.0") == "server:0.2.0"
