import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ai102 import contract
from ai102.contract import Tensor
from ai102.errors import UserError
from ai102.samples import python_docs
from ai102.samples.read import batches_of_items, calibration_and_test, label_numbers, read_samples, tensors_of_items

ROOT = Path(__file__).parents[2]
SETS = ROOT / "calibration" / "sets"
CONTRACT = contract.load(ROOT / "models.toml")
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
    network = contract.load(ROOT / "models.toml").networks["digits"]
    tensors = tensors_of_items(network, samples.items, None)
    assert tensors["pixels"].shape == (460, 1, 8, 8)
    assert set(samples.labels) == set(range(10))
    assert tensors["pixels"].max() == 255


def test_lines_are_read_unchanged(sets: Path) -> None:
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
        ("train", {}, "a set of the kind lines has no train split"),
    ],
)
def test_a_set_that_differs_from_its_declaration_is_refused(
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


def test_the_embedder_is_measured_on_more_than_a_thousand_sentences_of_others() -> None:
    calibration, test = calibration_and_test(SETS, "minilm")
    own, docs = test.items[:260], test.items[260:]
    assert len(docs) == len(set(docs)) >= 1000
    assert docs == python_docs.sentences(len(docs))
    assert not set(docs) & (set(own) | set(calibration.items))
    assert all(30 <= len(sentence) <= 300 and sentence.decode()[0].isupper() for sentence in docs)
    assert test.sha256 == read_samples(SETS, "minilm", "test").sha256


def test_a_smaller_count_gives_the_first_sentences_of_a_larger_one() -> None:
    assert python_docs.sentences(300)[:100] == python_docs.sentences(100)


def test_a_python_without_its_documentation_is_reported(sets: Path) -> None:
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
        "INT8 would be measured on its own calibration data; remove them from one"
    )


def png(grey: int) -> bytes:
    out = BytesIO()
    Image.new("L", (4, 4), grey).save(out, "PNG")
    return out.getvalue()


def declared(folder: Path, text: str) -> Path:
    (folder / "own.toml").write_text(text)
    return folder


def test_images_in_folders_have_the_folders_name_as_label(tmp_path: Path) -> None:
    for place, grey in (("a/cat/1.png", 1), ("a/dog/2.PNG", 2), ("b/cat/3.png", 3)):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(png(grey))
    sets = declared(tmp_path, 'kind = "images"\ncalibration = { folder = "a" }\ntest = { folder = "b", count = 1 }')
    calibration, test = calibration_and_test(sets, "own")
    assert (calibration.items, calibration.labels, test.labels) == ((png(1), png(2)), ("cat", "dog"), ("cat",))
    network = CONTRACT.networks["digits"].model_copy(update={"labels": ("dog", "cat")})
    assert label_numbers(network, calibration).tolist() == [1, 0]
    with pytest.raises(UserError, match='has the label "cat", the network has zero, one'):
        label_numbers(CONTRACT.networks["digits"], calibration)


def test_images_without_folders_have_no_labels(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(png(1))
    sets = declared(tmp_path, 'kind = "images"\ncalibration = { folder = "a" }\ntest = { folder = "a" }')
    assert read_samples(sets, "own", "test").labels == ()
    (tmp_path / "a" / "cat").mkdir()
    (tmp_path / "a" / "cat" / "2.png").write_bytes(png(2))
    with pytest.raises(UserError, match="1 of 2 images are not in a label's folder"):
        read_samples(sets, "own", "test")


def set_of_file(kind: str, data: bytes, count: int) -> str:
    part = f'{{ file = "data", count = {count}, sha256 = "{hashlib.sha256(data).hexdigest()}" }}'
    return f'kind = "{kind}"\ncalibration = {part}\ntest = {part}\n'


def test_a_labelled_line_is_a_text_a_tab_and_a_label(tmp_path: Path) -> None:
    data = b"so\tgood\tglad\nso bad\tsad\n"
    (tmp_path / "data").write_bytes(data)
    samples = read_samples(declared(tmp_path, set_of_file("labelled-lines", data, 2)), "own", "test")
    assert (samples.items, samples.labels) == ((b"so\tgood", b"so bad"), ("glad", "sad"))
    (tmp_path / "data").write_bytes(b"no label\n")
    with pytest.raises(UserError, match=r"data:1: write a text, a tab and the name of its label"):
        read_samples(tmp_path, "own", "test")


def test_arrays_become_the_inputs_of_a_network_of_tensors(tmp_path: Path) -> None:
    out = BytesIO()
    np.savez(out, x=np.arange(6, dtype=np.float32).reshape(3, 2), n=np.arange(3))
    (tmp_path / "data").write_bytes(out.getvalue())
    samples = read_samples(declared(tmp_path, set_of_file("arrays", out.getvalue(), 3)), "own", "test")
    inputs = (Tensor(name="x", type="FP32", dims=(2,)),)
    network = CONTRACT.networks["digits"].model_copy(update={"task": "tensors", "inputs": inputs})
    ((positions, tensors),) = batches_of_items(network, samples.items, None)
    assert (positions, tensors["x"].tolist()) == ([0, 1, 2], [[0, 1], [2, 3], [4, 5]])
    other = network.model_copy(update={"inputs": (Tensor(name="z", type="FP32", dims=(2,)),)})
    with pytest.raises(UserError, match="the calibration set has no array z; it has x, n"):
        tensors_of_items(other, samples.items, None)


def test_a_pickle_in_arrays_is_not_opened(tmp_path: Path) -> None:
    out = BytesIO()
    np.savez(out, x=np.array([{"a": 1}], dtype=object))
    (tmp_path / "data").write_bytes(out.getvalue())
    with pytest.raises(UserError, match=r"not an \.npz file of plain arrays"):
        read_samples(declared(tmp_path, set_of_file("arrays", out.getvalue(), 1)), "own", "test")
