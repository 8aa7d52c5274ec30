"""Compare the linter with the real server on every mutated model, and write the table: `python -m ai102.agreement`."""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from ai102.agreement.mutations import mutations
from ai102.agreement.opinions import opinions
from ai102.agreement.table import TABLE, table
from ai102.agreement.verdicts import server_version


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        compared = opinions(Path(folder), mutations())
    TABLE.write_text(table(compared, datetime.now(UTC).date().isoformat(), server_version()), encoding="utf-8")
    sys.stdout.write(f"{TABLE}: {len(compared)} mutations\n")


if __name__ == "__main__":
    main()
