"""Images through a checkpoint's served network give the results of transformers' pipeline."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from ai102.errors import UserError
from ai102.samples.read import tensors_of_items
from tests.weights import checkpoints
from tests.weights.served import answers, exported_answers, proposed, source_of

pytestmark = [pytest.mark.slow, pytest.mark.imports]

CROP = {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}}
MAKERS: dict[str, tuple[Callable[..., Path], dict[str, Any], dict[str, Any]]] = {
    "resnet": (checkpoints.resnet, {}, {"shortest_edge": 64, "resample": "bicubic"}),
    "vit": (checkpoints.vit, {}, {"resample": "bilinear"}),
    "convnext": (checkpoints.convnext, {}, {"shortest_edge": 73, "resample": "bicubic"}),
    "old settings": (checkpoints.resnet, {"size": 56, "resample": 2}, {"shortest_edge": 64, "resample": "bilinear"}),
    "shortest edge and cut": (
        checkpoints.vit,
        {"size": {"shortest_edge": 39}, "resample": 1, **CROP},
        {"shortest_edge": 39, "resample": "lanczos"},
    ),
    "scaled and cut": (checkpoints.vit, {"size": {"height": 41, "width": 38}, **CROP}, {"resample": "bilinear"}),
    "not normalised": (checkpoints.vit, {"do_normalize": False, "resample": 4}, {"resample": "box"}),
    "not rescaled": (checkpoints.vit, {"do_rescale": False, "image_mean": 127.0, "image_std": 50.0}, {}),
    "neither": (checkpoints.vit, {"do_rescale": False, "do_normalize": False, "resample": 0}, {"resample": "nearest"}),
    "rescaled otherwise": (checkpoints.resnet, {"rescale_factor": 1 / 127.5, "image_mean": [1.0, 1.0, 1.0]}, {}),
}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def images() -> list[bytes]:
    random = np.random.default_rng(7)

    def noise(*shape: int) -> Image.Image:
        """A smooth image: scaling changes it, and JPEG preserves it."""
        small = Image.fromarray(random.integers(0, 256, (6, 6, *shape[2:]), dtype=np.uint8))
        return small.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)

    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        encoded(noise(90, 131, 3)),
        encoded(noise(131, 90, 3), "JPEG"),
        encoded(noise(40, 33, 3)),
        encoded(noise(70, 71)),
        encoded(noise(64, 200, 4)),
        encoded(noise(90, 50, 3), "JPEG", exif=turned),
    ]


def pipeline(folder: Path) -> Any:
    with checkpoints.quiet():
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        net = AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager")
    return transformers.pipeline("image-classification", model=net, image_processor=processor, top_k=None)


def by_pipeline(folder: Path, items: list[bytes]) -> Any:
    """All scores in the order of the labels."""
    run = pipeline(folder)
    rows = [{entry["label"]: entry["score"] for entry in run(Image.open(BytesIO(item)))} for item in items]
    return np.array([[row[label] for label in checkpoints.ANIMALS] for row in rows])


@pytest.mark.parametrize(("make", "settings", "options"), MAKERS.values(), ids=MAKERS)
def test_scores_are_those_of_the_pipeline(
    make: Callable[..., Path], settings: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    network = proposed(make(tmp_path, **settings), "image-classification")
    served, expected = answers(network, images()), by_pipeline(tmp_path, images())
    assert np.abs(served - expected).max() < 1e-5
    assert np.ptp(expected, axis=0).max() > 1e-3, "the images have different scores"
    assert network.labels == checkpoints.ANIMALS
    given = network.image.model_dump(include=set(options))
    assert given == options


@pytest.mark.slow
def test_from_384_on_convnext_does_not_crop(tmp_path: Path) -> None:
    network = proposed(checkpoints.convnext(tmp_path, size={"shortest_edge": 384}), "image-classification")
    assert (network.inputs[0].dims, network.image.shortest_edge) == ((3, 384, 384), None)
    assert np.abs(answers(network, images()) - by_pipeline(tmp_path, images())).max() < 1e-5


@pytest.mark.parametrize("make", [checkpoints.resnet, checkpoints.vit, checkpoints.convnext])
def test_pixels_are_those_of_the_image_processor_bit_for_bit(make: Callable[..., Path], tmp_path: Path) -> None:
    network = proposed(make(tmp_path), "image-classification")
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    for item in images():
        rgb = transformers.image_utils.load_image(Image.open(BytesIO(item)))
        expected = np.asarray(processor(rgb, do_rescale=False, do_normalize=False)["pixel_values"])
        assert np.array_equal(tensors_of_items(network, [item], None)["pixels"], expected)


@pytest.mark.slow
@pytest.mark.parametrize("make", [checkpoints.resnet, checkpoints.vit, checkpoints.convnext])
def test_the_onnx_file_answers_as_the_pipeline(make: Callable[..., Path], tmp_path: Path) -> None:
    network = proposed(make(tmp_path), "image-classification")
    served = exported_answers(network, images(), tmp_path / "x.onnx")
    assert np.abs(served - by_pipeline(tmp_path, images())).max() < 1e-5


@pytest.mark.slow
def test_a_crop_in_the_graph_is_exported(tmp_path: Path) -> None:
    network = proposed(checkpoints.vit(tmp_path, size={"height": 41, "width": 38}, **CROP), "image-classification")
    assert network.inputs[0].dims == (3, 41, 38)
    served = exported_answers(network, images(), tmp_path / "x.onnx")
    assert np.abs(served - by_pipeline(tmp_path, images())).max() < 1e-5


def test_images_that_are_not_scaled_are_served_at_the_networks_size(tmp_path: Path) -> None:
    network = proposed(checkpoints.vit(tmp_path, do_resize=False), "image-classification")
    random = np.random.default_rng(1)
    item = encoded(Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)))
    assert np.abs(answers(network, [item]) - by_pipeline(tmp_path, [item])).max() < 1e-5


@pytest.mark.parametrize("kind", ["multi_label_classification", "single_label_classification", "regression"])
def test_scores_are_activated_as_the_pipeline_does(kind: str, tmp_path: Path) -> None:
    checkpoints.change(checkpoints.vit(tmp_path) / "config.json", problem_type=kind)
    network = proposed(tmp_path, "image-classification")
    served, expected = answers(network, images()[:2]), by_pipeline(tmp_path, images()[:2])
    assert np.abs(served - expected).max() < 1e-5


def test_float_pixels_are_normalised_as_the_contract_says(tmp_path: Path) -> None:
    network = proposed(checkpoints.vit(tmp_path), "image-classification")
    table = network.model_dump()
    table["inputs"] = [table["inputs"][0] | {"type": "FP32"}]
    table["image"] = {"resample": "bilinear", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    floats = type(network).model_validate(table)
    assert np.abs(answers(floats, images()) - answers(network, images())).max() < 1e-5


def test_given_labels_replace_the_checkpoints(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d", "e")
    assert proposed(checkpoints.vit(tmp_path), "image-classification", labels=names).labels == names


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"], ids=["the config", "the image processor"])
def test_the_identity_changes_with(file: str, tmp_path: Path) -> None:
    network = proposed(checkpoints.vit(tmp_path), "image-classification")
    before = source_of(network).identity
    assert source_of(network).identity == before
    checkpoints.change(tmp_path / file, note="another")
    assert source_of(network).identity != before


REFUSED: dict[str, tuple[Callable[..., Path], dict[str, Any], str]] = {
    "no square": (
        checkpoints.vit,
        {"size": {"shortest_edge": 32}},
        "its ViTImageProcessor scales to shortest_edge 32 without a crop: sizes would differ",
    ),
    "two edges": (
        checkpoints.vit,
        {"size": {"shortest_edge": 32, "longest_edge": 64}, **CROP},
        "its ViTImageProcessor scales to longest_edge 64, shortest_edge 32: sizes would differ",
    ),
    "padding": (
        checkpoints.vit,
        {"size": {"shortest_edge": 30}, **CROP},
        "its ViTImageProcessor crops [32, 32] from images of 30, which pads: not served",
    ),
    "padding in the graph": (
        checkpoints.vit,
        {"size": {"height": 30, "width": 40}, **CROP},
        "its ViTImageProcessor crops [32, 32] from [30, 40], which pads: not served",
    ),
    "filter": (
        checkpoints.vit,
        {"resample": 5},
        "its ViTImageProcessor scales with Pillow's filter 5; served are nearest, lanczos, bilinear, bicubic, box",
    ),
    "any size": (
        checkpoints.resnet,
        {"do_resize": False},
        "its ConvNextImageProcessor does not scale images (do_resize is false), so sizes vary",
    ),
    "pad": (checkpoints.vit, {"do_pad": True}, "its ViTImageProcessor pads images (do_pad), which is not served"),
    "another size than the network's": (
        checkpoints.vit,
        {"size": {"height": 40, "width": 40}},
        "cannot run it on what its image processor makes: ValueError: Input image size (40*40) doesn't match model",
    ),
    "no mean": (checkpoints.vit, {"image_mean": [0.5]}, "has an image processor with incomplete settings: "),
}


@pytest.mark.parametrize(("make", "settings", "words"), REFUSED.values(), ids=REFUSED)
def test_an_image_processor_that_cannot_be_served_is_one_line(
    make: Callable[..., Path], settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        proposed(make(tmp_path, **settings), "image-classification")
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"hf:{tmp_path}: ")
    assert "\n" not in str(caught.value)


def test_an_image_processor_that_does_more_than_its_settings_say_is_one_line(tmp_path: Path) -> None:
    checkpoints.vit(tmp_path)
    settings = {"size": {"height": 32, "width": 32}, "rescale_offset": True, "rescale_factor": 1 / 127.5}
    transformers.EfficientNetImageProcessorPil(**settings).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"its EfficientNetImageProcessor does more than its size, crop, rescale"):
        proposed(tmp_path, "image-classification")


def test_images_of_another_number_of_channels_are_one_line(tmp_path: Path) -> None:
    config = transformers.ViTConfig(image_size=32, patch_size=8, num_channels=1, **checkpoints.SIZES)
    checkpoints.vit(tmp_path)
    with checkpoints.quiet():
        transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"takes images of 1 channels, expected 3 \(RGB\)"):
        proposed(tmp_path, "image-classification")


def test_an_image_processor_that_is_missing_is_one_line(tmp_path: Path) -> None:
    network = proposed(checkpoints.vit(tmp_path), "image-classification")
    (tmp_path / "preprocessor_config.json").unlink()
    for ask in (lambda: proposed(tmp_path, "image-classification"), lambda: source_of(network)):
        with pytest.raises(UserError, match=r"preprocessor_config.json is missing in the checkpoint"):
            ask()
