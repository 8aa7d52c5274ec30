import re
from pathlib import Path

import pytest

from ai102 import contract
from ai102.contract.answers import asked_from_contract
from ai102.contract.pipelines import pipeline_of_network
from ai102.errors import UserError

# A copy of the reference pair's: what these tests replace in it would not be in a models.toml that you changed.
CONTRACT = Path(__file__).parent.parent / "reference.toml"

# (text to replace in models.toml, its replacement, the expected error line)
MISTAKES = {
    "unknown key": (
        "batching = { max_batch_size = 64",
        "bathing = { max_batch_size = 64",
        "models.toml: networks.digits.bathing is not a key; did you mean batching?",
    ),
    "unknown table": (
        "[networks.digits]",
        "[settings]\nverbose = true\n\n[networks.digits]",
        "models.toml: settings is not a key; the keys are costs, ensembles, networks, scaling, server",
    ),
    "missing key": (
        'source = "train:digits"',
        "",
        "models.toml: networks.digits.source is missing; "
        'write for example source = "hf:sentence-transformers/all-MiniLM-L6-v2"',
    ),
    "wrong type": (
        "p99_ms = 20.0",
        'p99_ms = "soon"',
        "models.toml: networks.digits.latency_goal.p99_ms is 'soon': it should be a valid number, unable to parse "
        "string as a number; write for example p99_ms = 50.0",
    ),
    "delay without batching": (
        "max_batch_size = 64",
        "max_batch_size = 0",
        "models.toml: networks.digits.batching.max_batch_size is 0 but max_queue_delay_us is 500: "
        "nothing would ever wait; set a batch size or drop it",
    ),
    "no batch dimension": (
        "max_batch_size = 64, max_queue_delay_us = 500",
        "max_batch_size = 0",
        "models.toml: networks.digits.batching.max_batch_size is 0, but a network for image-classification has "
        "a batch dimension: write 1 or more",
    ),
    "preferred size over the maximum": (
        "max_queue_delay_us = 500",
        "preferred_batch_sizes = [128]",
        "models.toml: networks.digits.batching.preferred_batch_sizes holds 128 but max_batch_size is 64: "
        "no batch would ever reach it; raise the one or drop the other",
    ),
    "too few labels": (
        'labels = ["zero", ',
        "labels = [",
        "models.toml: networks.digits.labels has 9 entries but outputs[0].dims is [10]: "
        "write one label per score, in order",
    ),
    "empty dims": (
        "dims = [10]",
        "dims = []",
        'models.toml: networks.digits.outputs must be one row of scores: write [{ name = "scores", type = "FP32", '
        "dims = [10] }]",
    ),
    "zero in dims": (
        "dims = [10]",
        "dims = [0]",
        "models.toml: networks.digits.outputs[0].dims holds a 0: the tensor would be empty; "
        "write the size, or -1 where it varies",
    ),
    "lengths out of order": (
        "lengths = [16, 32,",
        "lengths = [32, 16,",
        "models.toml: networks.minilm.text.lengths is [32, 16, 64, 128, 256]: "
        "write each length once, the shortest first",
    ),
    "calibration without budget": (
        "budget = { min_mean_cosine = 0.995, min_cosine = 0.98, min_nearest_neighbour_percent = 93 }",
        "",
        'models.toml: networks.minilm.calibration_set is "minilm" but there is no budget: INT8 would be served '
        "without an accuracy check; write budget = { min_mean_cosine = 0.99 }",
    ),
    "budget of another task": (
        "min_mean_cosine = 0.995, min_cosine = 0.98, min_nearest_neighbour_percent = 93",
        "max_top1_drop_points = 1.0",
        "models.toml: networks.minilm.budget holds max_top1_drop_points, which this task does not have: "
        "write for example budget = { min_mean_cosine = 0.99 }",
    ),
    "unknown model in an ensemble": (
        '"minilm_tokenize"',
        '"minilm_tokenise"',
        'models.toml: ensembles.embed_text.steps[0] is "minilm_tokenise": no such model; there are digits_decode, '
        "digits_fp32, digits_int8, digits_label, minilm_fp32, minilm_int8, minilm_tokenize",
    ),
    "step without its input": (
        'steps = ["minilm_tokenize", "minilm_int8"]',
        'steps = ["minilm_int8", "minilm_tokenize"]',
        'models.toml: ensembles.embed_text.steps[0] ("minilm_int8") takes "input_ids", which no step before it makes; '
        'add it to inputs, or map it: inputs = { input_ids = "..." }',
    ),
    "output nobody makes": (
        '"truncated"]',
        '"shortened"]',
        'models.toml: ensembles.embed_text.outputs holds "shortened", which no step makes; '
        "there are attention_mask, input_ids, sentence_embedding, text, truncated",
    ),
    "input nobody takes": (
        'inputs = ["text"]',
        'inputs = ["text", "language"]',
        'models.toml: ensembles.embed_text.inputs holds "language", which no step takes; drop it or map it in a step',
    ),
    "map of an unknown tensor": (
        '"digits_label"]',
        '{ model = "digits_label", outputs = { name = "label" } }]',
        'models.toml: ensembles.classify_image.steps[2].outputs maps "name", but the model has label, score',
    ),
    "output that a later step takes": (
        'outputs = ["sentence_embedding", "truncated"]',
        'outputs = ["sentence_embedding", "input_ids"]',
        'models.toml: ensembles.embed_text.steps[1] ("minilm_int8") takes "input_ids", which is also in outputs: '
        "a request for the other outputs alone would fail; offer it by an ensemble of its own that ends with the step "
        "that makes it",
    ),
    "priorities of single requests": (
        "max_batch_size = 64, max_queue_delay_us = 500",
        "max_batch_size = 1, priorities = { levels = 2 }",
        "models.toml: networks.digits.batching.priorities are set but max_batch_size is 1: Triton then stalls for up "
        "to a second; write a max_batch_size of 8 or more, or drop them",
    ),
    "priorities in order": (
        "max_queue_delay_us = 500",
        "preserve_ordering = true, priorities = { levels = 2 }",
        "models.toml: networks.digits.batching.preserve_ordering is true and priorities are set: a request cannot both "
        "overtake and keep its order; drop one of them",
    ),
    "default priority that is none": (
        "max_queue_delay_us = 500",
        "priorities = { levels = 2, default = 3 }",
        "models.toml: networks.digits.batching.priorities.default is 3 but levels is 2: write at most that",
    ),
    "queue of a level that is none": (
        "max_queue_delay_us = 500",
        'priorities = { levels = 2, queues = { "3" = { max_size = 1 } } }',
        'models.toml: networks.digits.batching.priorities.queues holds "3" but levels is 2: drop it or raise levels',
    ),
    "delayed without a time-out": (
        "max_queue_delay_us = 500",
        'queue = { on_timeout = "delay" }',
        'models.toml: networks.digits.batching.queue.on_timeout is "delay" but timeout_us is 0: nothing would ever be '
        "late; write timeout_us",
    ),
    "served but gone": (
        "instances = { count = 1, threads = 1 }",
        "versions = { keep = 1, serve = 2 }",
        "models.toml: networks.digits.versions.serve is 2 but keep is 1: a deleted build cannot be served",
    ),
    "warm-up over the maximum": (
        "batch_sizes = [1, 64]",
        "batch_sizes = [1, 65]",
        "models.toml: networks.digits.warmup.batch_sizes holds 65 but the largest batch is 64: write at most that",
    ),
    "graphs without shapes": (
        "warmup = { batch_sizes = [1, 64] }",
        "tensorrt = { cuda_graphs = true }",
        "models.toml: networks.digits.tensorrt.cuda_graphs is true but there is no warmup: a graph is captured for "
        "each warm-up shape; write warmup = { batch_sizes = [1, 8] }",
    ),
    "a parameter of ours": (
        "instances = { count = 1, threads = 1 }",
        'parameters = { intra_op_thread_count = "4" }',
        "models.toml: networks.digits.parameters holds intra_op_thread_count, which follows from instances.threads: "
        "set that",
    ),
    "one process without a network": (
        'steps = ["digits_decode", "digits_int8"]\ninputs = ["image"]\noutputs = ["scores"]',
        'steps = ["digits_decode"]\ninputs = ["image"]\noutputs = ["pixels"]',
        "models.toml: ensembles.score_image.in_one_process needs exactly one network among the steps, there is none; "
        "drop the key",
    ),
    "two models of one name": (
        "[ensembles.embed_text]",
        "[ensembles.digits_int8]",
        'models.toml: two models would be called "digits_int8": rename a network or an ensemble',
    ),
}


@pytest.mark.parametrize(("old", "new", "line"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_that_says_where_and_what_to_write(old: str, new: str, line: str, tmp_path: Path) -> None:
    text = re.sub(r"(?<=max_queue_delay_us = )\d+", "500", CONTRACT.read_text(encoding="utf-8"))
    assert old in text
    file = tmp_path / "models.toml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        contract.load(file)
    assert line in str(caught.value).splitlines()


def test_every_mistake_gets_its_own_line(tmp_path: Path) -> None:
    text = (
        CONTRACT.read_text(encoding="utf-8").replace("p99_ms = 20.0", "p99 = 20.0").replace("[networks.m", "[network.m")
    )
    file = tmp_path / "models.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        contract.load(file)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("content", "word"), [(b"networks = [", "not valid TOML"), (b"\xff\xfe", "not valid TOML"), (None, "no such file")]
)
def test_a_file_that_cannot_be_read_is_one_line(content: bytes | None, word: str, tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=word) as caught:
        contract.load(file)
    assert "\n" not in str(caught.value)


def test_the_contract_names_every_served_model() -> None:
    models = {model.name: model for model in contract.load(CONTRACT).served_models}
    assert list(models) == [
        "digits_fp32", "digits_int8", "digits_decode", "digits_label",
        "minilm_fp32", "minilm_int8", "minilm_tokenize",
        "classify_image", "sealed_classify_image", "score_image", "embed_text", "sealed_embed_text",
        "classify_image_steps", "embed_text_steps",
    ]  # fmt: skip
    answer = [(tensor.name, tensor.type, tensor.dims) for tensor in models["classify_image"].outputs]
    assert answer == [("label", "BYTES", (1,)), ("score", "FP32", (1,))]


def test_a_pipeline_in_one_process_is_chosen_before_the_ensemble_of_the_same_steps() -> None:
    head, _, ensembles = CONTRACT.read_text(encoding="utf-8").partition("# Input: an encoded image; outputs: the label")
    text, mark, steps = ensembles.partition("[ensembles.classify_image_steps]")
    turned = contract.contract_from_text(head + mark + steps + "# " + text, Path("models.toml"))
    assert list(turned.ensembles)[:2] == ["classify_image_steps", "embed_text_steps"]
    assert [name for name, _ in turned.pipelines] == [
        "classify_image", "score_image", "embed_text", "classify_image_steps", "embed_text_steps"
    ]  # fmt: skip
    api_ensembles = asked_from_contract(turned)
    assert api_ensembles.classifier is not None
    assert api_ensembles.embedder is not None
    assert (api_ensembles.classifier.model, api_ensembles.embedder.model) == ("classify_image", "embed_text")
    assert pipeline_of_network(turned, "minilm")[0].name == "embed_text"


def test_a_contract_of_version_0_1_0_is_read_as_it_is() -> None:
    older = contract.load(Path(__file__).with_name("models-0.1.0.toml"))
    assert list(older.networks) == ["digits", "minilm"]
    assert [name for name, _ in older.pipelines] == ["classify_image", "score_image", "embed_text"]
