"""The results of all files as one file: Parquet, CSV, or a JSON object a line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.errors import UserError
from ai102.jobs.submit.cells import Column
from ai102.jobs.submit.journal import Row

OWN = ("file", "state", "error")
# A group of rows is held in memory.
ROWS_PER_GROUP = 5000
Record = dict[str, Any]


def check(out: Path) -> None:
    """Raises UserError when results cannot be written to `out`."""
    if out.suffix not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise UserError(f"--out {out}: the suffix says how results are written: use one of {known}")
    if out.is_dir():
        raise UserError(f"--out {out}: it is a folder: name a file")
    if out.suffix == ".parquet":
        _pyarrow()


def write(out: Path, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Write the table; until it is whole, an existing file stays as it was."""
    kinds = _by_name(columns)
    with artifact.replacing(out) as temporary:
        _WRITERS[out.suffix](temporary, kinds, (_record(row, kinds) for row in rows))


def _by_name(columns: Sequence[Column]) -> dict[str, Column | None]:
    """Each output once; None where its type differed from answer to answer."""
    kinds: dict[str, Column | None] = {}
    for column in columns:
        kinds[column.name] = column if kinds.get(column.name, column) == column else None
    return kinds


def _record(row: Row, kinds: Mapping[str, Column | None]) -> Record:
    record: Record = {"file": row.file, "state": row.state, "error": row.error}
    for name, kind in kinds.items():
        cell = row.cells.get(name)
        # A column has one type: answers of several are kept as JSON.
        record[_heading(name)] = json.dumps(cell) if kind is None and name in row.cells else cell
    return record


def _heading(name: str) -> str:
    return f"output.{name}" if name in OWN else name


def _write_jsonl(file: Path, kinds: Mapping[str, Column | None], records: Iterator[Record]) -> None:
    with file.open("w", encoding="utf-8") as lines:
        for record in records:
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")


def _write_csv(file: Path, kinds: Mapping[str, Column | None], records: Iterator[Record]) -> None:
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow([*OWN, *map(_heading, kinds)])
        for record in records:
            writer.writerow([json.dumps(cell) if isinstance(cell, list) else cell for cell in record.values()])


def _write_parquet(file: Path, kinds: Mapping[str, Column | None], records: Iterator[Record]) -> None:
    pa, parquet = _pyarrow()
    fields = [(name, pa.string()) for name in OWN]
    fields += [(_heading(name), _type(pa, kind)) for name, kind in kinds.items()]
    schema = pa.schema(fields)
    with parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(records, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def _type(pa: Any, column: Column | None) -> Any:
    if column is None:
        return pa.string()
    kind = pa.string() if column.kind == "object" else pa.float32() if column.kind == "float16" else None
    kind = kind or pa.from_numpy_dtype(column.kind)
    for _ in range(column.rank):
        kind = pa.list_(kind)
    return kind


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as err:
        raise UserError(f"Parquet needs pyarrow ({err}): pip install 'ai102[jobs]', or write .csv or .jsonl") from err
    return pyarrow, parquet


_WRITERS: Mapping[str, Callable[[Path, Mapping[str, Column | None], Iterator[Record]], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}
