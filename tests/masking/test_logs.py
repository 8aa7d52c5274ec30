"""Python's logging, masked: messages, arguments, extras, tracebacks, uvicorn; and what a defect does."""

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.masking import Masker, logs

from .conftest import RULES


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    logger, out = logging.getLogger("tests.masking"), io.StringIO()
    handler = logging.StreamHandler(out)
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, out
    logger.removeHandler(handler)


class Broken(Masker):
    def __init__(self) -> None:
        pass

    def mask(self, text: str) -> str:
        raise ValueError(text)


def all_ways(logger: logging.Logger) -> None:
    logger.warning("tel %s", "13800138000")
    logger.warning("+86%s and password=%s", "13800138000", "x")
    logger.warning("%(tel)s", {"tel": 13800138000})
    try:
        raise ValueError("no user 13800138000") from KeyError("bob@example.com")
    except ValueError:
        logger.exception("failed for 10.1.2.3", stack_info=True)


@pytest.mark.parametrize("way", ["filter", "formatter"])
def test_messages_arguments_and_tracebacks_are_masked(
    masker: Masker, log: tuple[logging.Logger, io.StringIO], way: str
) -> None:
    logger, out = log
    if way == "filter":
        logger.handlers[0].addFilter(logs.MaskingFilter(masker))
    else:
        logs.install(masker, logger)
    all_ways(logger)
    lines = out.getvalue().splitlines()
    assert lines[:4] == ["tel [phone]", "[phone] and password=[secret]", "[phone]", "failed for [ip]"]
    assert "ValueError: no user [phone]" in lines
    assert "KeyError: '[email]'" in lines
    assert "13800138000" not in "".join(line for line in lines if "raise ValueError" not in line)
    assert "Stack (most recent call last):" in lines


def test_the_filter_masks_extras_so_that_a_json_formatter_may_print_them(
    masker: Masker, log: tuple[logging.Logger, io.StringIO]
) -> None:
    class Json(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return json.dumps(
                {"message": record.getMessage(), "user": vars(record)["user"], "token": vars(record)["token"]}
            )

    logger, out = log
    logger.handlers[0].addFilter(logs.MaskingFilter(masker))
    logger.handlers[0].setFormatter(Json())
    logger.warning("hello", extra={"user": {"tel": "13800138000"}, "token": "abc"})
    assert json.loads(out.getvalue()) == {"message": "hello", "user": {"tel": "[phone]"}, "token": "[secret]"}


@pytest.mark.parametrize("way", ["filter", "formatter"])
def test_a_defect_of_the_masker_loses_no_line_and_leaks_nothing(
    log: tuple[logging.Logger, io.StringIO], way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logger, out = log
    if way == "filter":
        logger.handlers[0].addFilter(logs.MaskingFilter(Broken()))
    else:
        logs.install(Broken(), logger)
    logger.warning("tel %s", "13800138000", extra={"tel": "13800138000"})
    assert out.getvalue().startswith("[masking failed: ValueError]")
    assert "13800138000" not in out.getvalue() + capsys.readouterr().err


@pytest.mark.parametrize("way", ["filter", "formatter"])
def test_a_message_whose_arguments_do_not_fit_leaks_nothing(
    masker: Masker, log: tuple[logging.Logger, io.StringIO], way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logger, out = log
    if way == "filter":
        logger.handlers[0].addFilter(logs.MaskingFilter(masker))
    else:
        logs.install(masker, logger)
    logger.warning("count %d", "13800138000")
    assert out.getvalue().startswith("[masking failed: TypeError]")
    assert "13800138000" not in out.getvalue() + capsys.readouterr().err


def test_uvicorns_logs_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    config = logs.uvicorn_log_config(RULES)
    json.dumps(config)  # it may be handed to worker processes
    logging.config.dictConfig(config)
    try:
        logging.getLogger("uvicorn.access").info(
            '%s - "%s %s HTTP/%s" %d', "10.1.2.3:5000", "GET", "/u?tel=13800138000&token=abc", "1.1", 200
        )
        logging.getLogger("uvicorn.error").error("user %s", "bob@example.com")
    finally:
        for name in ("uvicorn", "uvicorn.access", "uvicorn.error"):
            logging.getLogger(name).handlers.clear()
    out, err = capsys.readouterr()
    assert '[ip]:5000 - "GET /u?tel=[phone]&token=[secret] HTTP/1.1" 200' in out
    assert "user [email]" in err


def test_missing_rules_are_an_error_before_uvicorn_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        logs.uvicorn_log_config(tmp_path / "masking.toml")


@pytest.mark.parametrize("has_rules", [True, False])
def test_a_folder_stands_for_its_rules_or_for_all_kinds(has_rules: bool, tmp_path: Path) -> None:
    if has_rules:
        (tmp_path / "masking.toml").write_text('[[rules]]\nkind = "email"\n')
    formatter = logs.masking_formatter(str(tmp_path))
    record = logging.makeLogRecord({"msg": "bob@example.com 13800138000"})
    assert formatter.format(record) == ("[email] 13800138000" if has_rules else "[email] [phone]")


def test_of_several_lines_at_once_only_the_one_that_cannot_be_masked_becomes_a_mark(
    masker: Masker, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Masker.mask

    def mask(self: Masker, text: str) -> str:
        if "broken" in text:
            raise RuntimeError
        return plain(self, text)

    monkeypatch.setattr(Masker, "mask", mask)
    text = "call 13800138000\nbroken 13800138000\ncall 13800138000\n"
    assert logs.masked(masker, text) == "call [phone]\n[masking failed: RuntimeError]\ncall [phone]\n"
