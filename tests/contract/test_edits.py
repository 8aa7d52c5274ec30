import tomllib

import pytest

from ai102.contract import edits
from ai102.errors import UserError

TEXT = """\
# Ours.

# The first.
[networks.one]
source = "train:one"  # here
labels = ["a", "b"]

# The second.
[networks.two]
source = "hf:two"

# Joins them.
[ensembles.both]
steps = ["one", "two"]
"""


def test_a_table_that_is_added_and_removed_leaves_every_character_as_it_was() -> None:
    tables = {
        ("networks", "new"): {
            "source": "onnx:new.onnx",
            "inputs": [{"name": "x", "dims": []}, {"name": 'q"', "dims": [2]}],
        },
        ("ensembles", "new_one"): {"steps": ["new", "two"], "empty": None, "none": []},
    }
    added = edits.with_tables(TEXT, tables)
    assert added.startswith(TEXT)
    assert tomllib.loads(added)["networks"]["new"] == tables["networks", "new"]
    assert tomllib.loads(added)["ensembles"]["new_one"] == {"steps": ["new", "two"]}
    removed = edits.without_table(edits.without_table(added, "networks", "new"), "ensembles", "new_one")
    assert removed == TEXT


@pytest.mark.parametrize(
    ("kind", "name", "gone"),
    [
        ("networks", "one", '# The first.\n[networks.one]\nsource = "train:one"  # here\nlabels = ["a", "b"]\n\n'),
        ("networks", "two", '# The second.\n[networks.two]\nsource = "hf:two"\n\n'),
        ("ensembles", "both", '\n# Joins them.\n[ensembles.both]\nsteps = ["one", "two"]\n'),
    ],
)
def test_a_table_is_removed_with_the_comment_above_it_and_no_other(kind: str, name: str, gone: str) -> None:
    assert edits.without_table(TEXT, kind, name) == TEXT.replace(gone, "")


SAME_COMMENTS = """\
# Same.
[networks.one]
source = "a"

# Same.
[networks.two]
source = "b"

[networks.two.batching]
max_batch_size = 1

# Same.
[networks.three]
source = "c"
# Same.
"""


def test_comments_of_the_same_words_are_told_apart() -> None:
    """The comment that goes is the one above the table, not the first of the same words; inner tables go along."""
    assert edits.without_table(SAME_COMMENTS, "networks", "two") == (
        '# Same.\n[networks.one]\nsource = "a"\n\n# Same.\n[networks.three]\nsource = "c"\n# Same.\n'
    )
    assert edits.without_table(SAME_COMMENTS, "networks", "three").endswith("max_batch_size = 1\n\n# Same.\n")


def test_the_head_of_the_file_stays_with_the_first_table_removed() -> None:
    text = '# The head.\n[networks.one]\nsource = "a"\n\n[networks.two]\nsource = "b"\n'
    assert edits.without_table(text, "networks", "one") == '# The head.\n[networks.two]\nsource = "b"\n'


def test_values_are_set_in_a_table_that_stands_behind_ensembles() -> None:
    text = (
        TEXT
        + '\n[networks.late]\nsource = "x"\nbatching = { max_batch_size = 4, max_queue_delay_us = 9 }  # measured\n'
    )
    values = {"batching": {"max_batch_size": 8, "max_queue_delay_us": 0}, "instances": {"count": 2}}
    changed = edits.with_values(text, "networks", "late", values)
    line = "batching = { max_batch_size = 8 }  # measured\ninstances = { count = 2 }\n"
    assert changed == text.replace("batching = { max_batch_size = 4, max_queue_delay_us = 9 }  # measured\n", line)


@pytest.mark.parametrize(
    "text",
    [
        'networks.one.source = "train:one"\n',
        'networks = { one = { source = "x" } }\n',
        '[networks.one]\nsource = "x"\n[ensembles.e]\nsteps = []\n[networks.one.batching]\nmax_batch_size = 1\n',
    ],
)
def test_a_table_written_in_another_way_is_left_to_its_author(text: str) -> None:
    with pytest.raises(UserError, match="remove it by hand"):
        edits.without_table(text, "networks", "one")


def test_many_labels_are_wrapped_into_lines() -> None:
    labels = [f"a label, number {number}" for number in range(100)]
    text = edits.with_tables("", {("networks", "n"): {"labels": labels}})
    assert tomllib.loads(text)["networks"]["n"]["labels"] == labels
    assert max(map(len, text.splitlines())) <= 120
