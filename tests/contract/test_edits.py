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
