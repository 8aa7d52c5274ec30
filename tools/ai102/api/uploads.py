"""The images of a multipart form, checked while they arrive; nothing is written to disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ai102.api.limits import Limits
from ai102.api.problems import Problem

FIELD = "images"
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # PNG, JPEG
PLAIN = (b"", b"binary", b"8bit", b"7bit")


class Image(NamedTuple):
    """One file of the form: the name it was sent under, empty where there was none, and its bytes."""

    filename: str
    data: bytes


async def images_from_form(content_type: str, parts: AsyncIterator[bytes], limits: Limits) -> tuple[Image, ...]:
    """The files in the field `images`, in order.

    Raises Problem at the first byte that is too many or wrong: no form (415), a broken one (400), a field or file
    that does not belong (422, 415), one too many or too large (413).
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise Problem("unsupported-type", f"Send a form as multipart/form-data, each image as a file named {FIELD}.")
    form = _Form(limits)
    try:
        parser = MultipartParser(options.get(b"boundary") or b"", form.callbacks())  # type: ignore[arg-type]
        if not options.get(b"boundary"):
            raise Problem("malformed", "The Content-Type names no boundary.")
        async for part in parts:
            parser.write(part)
        parser.finalize()
    except FormParserError as err:
        raise Problem("malformed", "The body is not a valid multipart form.") from err
    if not form.is_whole:
        raise Problem("malformed", "The form is cut short: its closing boundary is missing.")
    if not form.images:
        raise Problem("invalid", f"The form has no file in the field {FIELD}.")
    return tuple(form.images)


class _Form:
    """The parser's events, kept as far as they are used."""

    def __init__(self, limits: Limits) -> None:
        self.images: list[Image] = []
        self.is_whole = False
        self._limits = limits
        self._headers: dict[bytes, bytes] = {}
        self._key = self._value = b""
        self._filename = ""
        self._start = b""  # of the file, as long as it is too short to show the type
        self._pieces: list[bytes] = []
        self._size = 0

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._more_of_key,
            "on_header_value": self._more_of_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add,
            "on_part_end": self._end,
            "on_end": self._close,
        }

    def _begin(self) -> None:
        self._headers, self._key, self._value = {}, b"", b""
        self._start, self._pieces, self._size = b"", [], 0

    def _more_of_key(self, data: bytes, start: int, end: int) -> None:
        self._key += data[start:end]

    def _more_of_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        key = self._key.lower()
        if key in self._headers:
            raise Problem("malformed", "A part of the form has a header twice.")
        self._headers[key] = self._value
        self._key = self._value = b""

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        if kind != b"form-data" or options.get(b"name") != FIELD.encode():
            raise Problem("invalid", f"The form has a field that is not {FIELD}.")
        if self._headers.get(b"content-transfer-encoding", b"").strip().lower() not in PLAIN:
            raise Problem("unsupported-type", "Send each file as it is, without a Content-Transfer-Encoding.")
        if len(self.images) == self._limits.max_files:
            raise Problem("too-large", f"There are more than {self._limits.max_files} images in the form.")
        self._filename = options.get(b"filename", b"").decode("utf-8", "replace")
        if len(self._filename) > self._limits.max_filename_chars:
            raise Problem("invalid", f"A file's name is longer than {self._limits.max_filename_chars} characters.")

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._limits.max_file_bytes:
            raise self._of_file("too-large", f"The file is larger than {self._limits.max_file_bytes} bytes.")
        piece = bytes(data[start:end])
        self._pieces.append(piece)
        if len(self._start) < len(SIGNATURES[0]):
            self._start = (self._start + piece)[: len(SIGNATURES[0])]
            if not any(self._start.startswith(known[: len(self._start)]) for known in SIGNATURES):
                raise self._of_file("unsupported-type", "The file is not a PNG or JPEG image.")

    def _end(self) -> None:
        if not self._size:
            raise self._of_file("bad-image", "The file is empty.")
        self.images.append(Image(self._filename, b"".join(self._pieces)))
        self._pieces = []

    def _close(self) -> None:
        self.is_whole = True

    def _of_file(self, kind: str, detail: str) -> Problem:
        return Problem(kind, detail, position=len(self.images) + 1, filename=self._filename)
