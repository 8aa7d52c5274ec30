import hashlib
from pathlib import Path

import pytest

from ai102 import python_docs, spec
from ai102.errors import UserError
from ai102.samples import calibration_and_test, read_samples, tensors_of_items

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


def test_the_embedder_is_judged_on_more_than_a_thousand_sentences_that_nobody_here_wrote() -> None:
    calibration, test = calibration_and_test(SETS, "minilm")
    own, docs = test.items[:260], test.items[260:]
    assert len(docs) == len(set(docs)) >= 1000
    assert docs == python_docs.sentences(len(docs))
    assert not set(docs) & (set(own) | set(calibration.items))
    assert all(30 <= len(sentence) <= 300 and sentence.decode()[0].isupper() for sentence in docs)
    assert test.sha256 == read_samples(SETS, "minilm", "test").sha256


def test_fewer_sentences_are_the_first_of_more() -> None:
    assert python_docs.sentences(300)[:100] == python_docs.sentences(100)


def test_a_python_without_its_documentation_is_told(sets: Path) -> None:
    (sets / "own.toml").write_text(LINES.replace('"\n[test]', '"\npython_docs = 999999\n[test]'))
    with pytest.raises(UserError, match=r"python_docs is 999999, but the documentation of this Python holds \d+ sen"):
        read_samples(sets, "own", "calibration")


@pytest.mark.parametrize(("line", "refused"), [("c", False), ("b", True), ("  B ", True)])
def test_a_sample_of_both_splits_is_refused(line: str, refused: bool, sets: Path) -> None:
    (sets / "b.txt").write_text(line + "\n")
    digest = hashlib.sha256((line + "\n").encode()).hexdigest()
    (sets / "own.toml").write_text(LINES.replace("0" * 64, digest))
    if not refused:
        assert calibration_and_test(sets, "own")[1].items == (b"c",)
        return
    with pytest.raises(UserError) as caught:
        calibration_and_test(sets, "own")
    assert str(caught.value) == (
        "calibration set own: 1 samples are in both splits, the first is calibration sample 1 and test sample 0: "
        "INT8 would be judged on what it was fitted to; take them out of one"
    )
