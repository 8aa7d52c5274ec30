"""Python's logging through the masker: a filter, a formatter, and uvicorn's configuration with it."""

from __future__ import annotations

import copy
import functools
import importlib
import logging
import traceback
from pathlib import Path
from typing import Any

from ai102.masking.masker import Masker

# What every record has; all else was given by `extra`.
USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class MaskingFilter(logging.Filter):
    """Masks message, arguments, extras, exception text and stack of every record; for handlers rather than loggers,
    because the filters of a logger do not see the records of its children.

    Afterwards the message is whole (`args` is None) and the exception is only text. A record the masker fails on goes
    on with a mark for its message.
    """

    def __init__(self, masker: Masker) -> None:
        super().__init__()
        self._masker = masker

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true. The record itself is changed, for every handler that comes later too."""
        try:
            self._mask(record)
        except Exception as err:  # noqa: BLE001  whatever the defect, the line must not be lost and must not leak
            record.msg, record.args = failure(err), None
            record.exc_info = record.exc_text = record.stack_info = None
            for name in vars(record).keys() - USUAL:
                delattr(record, name)
        return True

    def _mask(self, record: logging.LogRecord) -> None:
        masker = self._masker
        record.msg, record.args = masker.mask(record.getMessage()), None
        if record.exc_info and record.exc_info[1]:
            record.exc_text = "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")
        record.exc_info = None
        record.exc_text = masker.mask(record.exc_text) if record.exc_text else None
        record.stack_info = masker.mask(record.stack_info) if record.stack_info else None
        extras = {name: value for name, value in vars(record).items() if name not in USUAL}
        for name, value in masker.mask_record(extras).items():
            setattr(record, name, value)


class MaskingFormatter(logging.Formatter):
    """Masks what another formatter makes of a record: the last gate before a handler writes.

    `inner` defaults to one that prints the message alone.
    """

    def __init__(self, masker: Masker, inner: logging.Formatter | None = None) -> None:
        super().__init__()
        self._masker, self._inner = masker, inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        try:
            # A copy: formatters leave the message and the exception's text on the record, for others to print.
            return self._masker.mask(self._inner.format(copy.copy(record)))
        except Exception as err:  # noqa: BLE001  whatever the defect, the line must not be lost and must not leak
            return f"{failure(err)} {record.levelname} {Path(record.pathname).name}:{record.lineno}"


def masked(masker: Masker, text: str) -> str:
    """The text, one line or several, masked; a line that the masker fails on is replaced by a mark."""
    try:
        return masker.mask(text)
    except Exception as err:  # noqa: BLE001  whatever the defect, the line must not be lost and must not leak
        lines = text.splitlines(keepends=True)
        if len(lines) > 1:
            return "".join(masked(masker, line) for line in lines)
        return failure(err) + ("\n" if text.endswith("\n") else "")


def failure(err: BaseException) -> str:
    """What stands in the place of a line that could not be masked; nothing of the line is in it."""
    return f"[masking failed: {type(err).__name__}]"


def masking_formatter(rules: str, inner: str = "logging.Formatter", **arguments: Any) -> MaskingFormatter:
    """For `logging.config.dictConfig`: a formatter of the class `inner` (dotted), masked by the file `rules`."""
    module, _, name = inner.rpartition(".")
    return MaskingFormatter(_masker(rules), getattr(importlib.import_module(module), name)(**arguments))


def uvicorn_log_config(rules: Path) -> dict[str, Any]:
    """For `uvicorn.run(log_config=...)`: uvicorn's own configuration with every formatter masked by `rules`, a file, or
    a folder that may hold a masking.toml.

    Its access formatter needs the record's arguments, so a MaskingFilter must not be put before it.
    """
    from uvicorn.config import LOGGING_CONFIG

    _masker(str(rules))  # a mistake in the rules shows here, not in the logging module
    config = copy.deepcopy(LOGGING_CONFIG)
    for formatter in config["formatters"].values():
        formatter["inner"] = formatter.pop("()", "logging.Formatter")
        formatter |= {"()": "ai102.masking.logs.masking_formatter", "rules": str(rules)}
    return config


def install(masker: Masker, logger: logging.Logger | None = None) -> None:
    """Puts a MaskingFormatter around the formatter of every handler of `logger` (default: the root's)."""
    for handler in (logger or logging.getLogger()).handlers:
        if not isinstance(handler.formatter, MaskingFormatter):
            handler.setFormatter(MaskingFormatter(masker, handler.formatter))


@functools.lru_cache(maxsize=8)
def _masker(rules: str) -> Masker:
    path = Path(rules)
    return Masker.beside(path) if path.is_dir() else Masker.of(path)
