"""The linter and the real tritonserver agree: neither passes what the other refuses."""

from pathlib import Path

import pytest

from ai102.agreement.mutations import KINDS, PAIRS, mutations
from ai102.agreement.opinions import opinions
from ai102.agreement.table import TABLE

pytestmark = [pytest.mark.e2e, pytest.mark.waits]
# Of each kind; `python -m ai102.agreement` asks about all of them and writes the table.
MOST = 3


@pytest.mark.slow
def test_the_linter_agrees_with_the_real_server(tmp_path: Path) -> None:
    made = mutations(MOST)
    assert len(made) >= 500
    assert len({mutation.kind for mutation in made}) >= 40
    results = opinions(tmp_path, made)
    assert [str(one) for one in results if one.is_missed or one.is_false_alarm] == []


def test_the_published_table_is_of_all_mutations() -> None:
    table = TABLE.read_text(encoding="utf-8")
    assert f": {len(mutations())} mutations of valid" in table
    assert [kind for kind in (*KINDS, PAIRS) if f"| {kind.replace('_', ' ')} |" not in table] == []
