from pathlib import Path

import pytest

from ai102 import spec
from ai102.errors import UserError
from ai102.samples import read_samples, tensors_of_items

ROOT = Path(__file__).parent.parent
SETS = ROOT / "calibration" / "sets"
LINES = """
kind = "lines"
[calibration]
file = "a.txt"
count = 2
sha256 = "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2"
[test]
file = "b.txt"
count = 1
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
"""


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    (tmp_path / "own.toml").write_text(LINES)
    (tmp_path / "a.txt").write_text("a\nb\n")
    (tmp_path / "b.txt").write_text("a\n")
    return tmp_path


@pytest.mark.parametrize("name", ["digits", "minilm"])
def test_the_splits_share_no_sample(name: str) -> None:
    splits = ("train", "calibration", "test") if name == "digits" else ("calibration", "test")
    items = [item for split in splits for item in read_samples(SETS, name, split).items]
    assert len(items) == len(set(items))


def test_digits_have_a_label_each_and_reach_the_network_unchanged() -> None:
    samples = read_samples(SETS, "digits", "test")
    network = spec.load(ROOT / "models.toml").networks["digits"]
    tensors = tensors_of_items(network, samples.items, None)
    assert tensors["pixels"].shape == (460, 1, 8, 8)
    assert set(samples.labels) == set(range(10))
    assert tensors["pixels"].max() == 255


def test_lines_are_read_as_they_stand(sets: Path) -> None:
    assert read_samples(sets, "own", "calibration").items == (b"a", b"b")


@pytest.mark.parametrize(
    ("split", "change", "words"),
    [
        ("test", {}, "own.toml: test declares 1 samples with sha256 000000000000"),
        ("calibration", {"a.txt": "a\nb\nc\n"}, "found 3 with"),
        ("calibration", {"a.txt": None}, "a.txt is missing; restore it or name another set"),
        ("calibration", {"own.toml": None}, "own.toml is missing; restore it or name another set"),
        ("calibration", {"own.toml": 'kind = "lines'}, "own.toml: not valid TOML"),
        (
            "calibration",
            {"own.toml": 'kind = "lines"\n[test]\nfile="a"\ncount=0\nsha256=""'},
            "own.toml: calibration: ",
        ),
        ("train", {}, "a set of text lines has no train split"),
    ],
)
def test_a_set_that_is_not_what_it_declares_is_refused(
    split: str, change: dict[str, str | None], words: str, sets: Path
) -> None:
    for name, text in change.items():
        if text is None:
            (sets / name).unlink()
        else:
            (sets / name).write_text(text)
    with pytest.raises(UserError) as caught:
        read_samples(sets, "own", split)  # type: ignore[arg-type]
    assert words in str(caught.value)
