"""Lines of text: Triton's and Kubernetes' (the same form), HAProxy's and nginx's own, uvicorn's, key=value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from ai102.logs.document import LONGEST_KEYWORD, Document, moment, moment_without_year, put
from ai102.logs.levels import level_of

Match = re.Match[str]
# Puts what the line says into the document; gives when it was written, if it says so.
Mask = Callable[[str], str]
Read = Callable[[Match, Document, datetime, Mask], datetime | None]

FILE_AND_TEXT = r"(?P<file>[^:\s\]]+):(?P<line>\d+)\] (?P<text>.*)"
# `ai102 serve --replicas` puts a replica's name before its lines.
TRITON = re.compile(
    r"(?:(?P<replica>[A-Za-z][\w-]{0,31}) \| )?"
    r"(?:(?P<level>[IWEF])(?P<day>\d{4}) (?P<clock>\d\d:\d\d:\d\d\.\d{1,6})"
    r"|(?P<time>\d{4}-\d\d-\d\dT\S{8,16}Z) (?P<level2>[IWEF]))"
    rf" +(?P<pid>\d+) {FILE_AND_TEXT}",
    re.DOTALL,
)
HAPROXY = re.compile(r"\[(?P<level>NOTICE|WARNING|ALERT|EMERG)\] +\((?P<pid>\d+)\) : (?P<text>.*)", re.DOTALL)
NGINX = re.compile(
    r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(?P<level>[a-z]+)\] (?P<pid>\d+)#\d+: (?:\*\d+ )?(?P<text>.*)", re.DOTALL
)
UVICORN = re.compile(r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL): +(?P<text>.*)", re.DOTALL)
LOGFMT = re.compile(r"(?:time|ts|t|level|caller)=\S.*", re.DOTALL)
PAIR = re.compile(r'(\w[\w.]*)=("(?:[^"\\]|\\.)*"|\S*)')
# Which model a line of Triton is about.
MODELS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:\bmodel|\bensemble|\bload(?:ed)?|Stub process) '(?P<model>[^']+)'",
        r"\b(?:un)?loading: (?P<model>[^:\s]+)",
        r"ModelInstance\w+: (?:model instance name |instance initialization successful )?(?P<model>\w+_\d+_\d+)",
        r"\bmodel:? (?P<model>\w+),",
    )
)
INSTANCE = re.compile(r"_\d+_\d+$")
REQUEST_ID = re.compile(r"\[?request id: (?P<id>[^\],<\s]+)")
ERROR_TYPE = re.compile(r"\b(?P<type>[A-Z]\w*(?:Error|Exception)): ")
STACK = re.compile(r"\n+At:\n")


class Text(NamedTuple):
    """One form of line; `service` is whose it is, "" for any."""

    name: str
    service: str
    form: re.Pattern[str]
    read: Read


def triton(match: Match, document: Document, read_at: datetime, mask: Mask) -> datetime | None:
    text = _unquoted(match["text"], mask)
    level = level_of(match["level"] or match["level2"])
    put(document, "log.level", level)
    put(document, "log.origin.file.name", match["file"])
    put(document, "log.origin.file.line", int(match["line"]) if len(match["line"]) < 10 else None)
    put(document, "process.pid", int(match["pid"]) if len(match["pid"]) < 10 else None)
    put(document, "labels.replica", match["replica"])
    if named := next((found for pattern in MODELS if (found := pattern.search(text))), None):
        put(document, "labels.model", INSTANCE.sub("", named["model"])[:LONGEST_KEYWORD])
    if request := REQUEST_ID.search(text):
        put(document, "http.request.id", request["id"][:LONGEST_KEYWORD])
    put(document, "message", text)
    if level in ("error", "fatal"):
        message, *stack = STACK.split(text, maxsplit=1)
        put(document, "error.message", message)
        put(document, "error.stack_trace", stack[0] if stack else None)
        put(document, "error.type", kind["type"] if (kind := ERROR_TYPE.search(text)) else None)
    if match["time"]:
        return moment(match["time"])
    return moment_without_year(match["day"], match["clock"], read_at)


def with_level(match: Match, document: Document, read_at: datetime, mask: Mask) -> datetime | None:
    """A line that says its level and perhaps its process; its time, if any, is of an unknown time zone."""
    parts = match.groupdict()
    level = level_of(parts["level"])
    put(document, "log.level", level)
    put(document, "process.pid", int(parts["pid"]) if "pid" in parts and len(parts["pid"]) < 10 else None)
    put(document, "message", parts["text"])
    if level in ("error", "fatal"):
        put(document, "error.message", parts["text"])
    return None


def logfmt(match: Match, document: Document, read_at: datetime, mask: Mask) -> datetime | None:
    """key=value pairs, as Prometheus and Alertmanager write."""
    pairs = {key: _unquoted(value, mask) for key, value in PAIR.findall(match[0])}
    put(document, "log.level", level_of(pairs.get("level", "")))
    put(document, "log.logger", (pairs.get("component") or pairs.get("caller") or "")[:LONGEST_KEYWORD])
    put(document, "message", match[0])
    put(document, "error.message", pairs.get("err") or pairs.get("error"))
    return moment(pairs.get("time") or pairs.get("ts") or pairs.get("t"))


TEXTS = (
    Text("triton", "triton", TRITON, triton),
    Text("haproxy", "gateway", HAPROXY, with_level),
    Text("nginx", "gateway", NGINX, with_level),
    Text("uvicorn", "", UVICORN, with_level),
    Text("logfmt", "", LOGFMT, logfmt),
)


def _unquoted(text: str, mask: Mask) -> str:
    """The text without its quotes and escapes, if it is one string of JSON."""
    if len(text) < 2 or not text[0] == text[-1] == '"':
        return text
    if "\\" not in text:
        return text[1:-1]
    try:
        return mask(str(json.loads(text, strict=False)))
    except ValueError:
        return text[1:-1]
