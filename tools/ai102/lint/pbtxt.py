"""Reads a config.pbtxt into the protobuf and into a tree with places, and lists all that is wrong with its fields."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.cursor import Cursor, NotTextFormatError, Problem, shown
from ai102.lint.finding import Fix
from ai102.lint.tokens import Token
from ai102.lint.tree import Field, Message, Position, Scalar, ScalarValue
from ai102.lint.values import ENUM, MESSAGE, STRING, expected, is_slip, near, scalar_from_token, wrong_value

CLOSING = {"{": "}", "<": ">"}


@dataclass(frozen=True)
class Parsed:
    """`config` is None when any problem keeps the server from reading the file."""

    config: pb.ModelConfig | None
    tree: Message
    problems: tuple[Problem, ...]


def parse(text: str) -> Parsed:
    """All unknown fields and wrong values become problems; reading ends at the first error of syntax."""
    parser, config = Parser(text), pb.ModelConfig()
    fields: list[Field] = []
    with suppress(NotTextFormatError):
        parser.fields(config, "", fields, closing="")
    tree = Message(tuple(fields), Position(1, 1, 0, len(text)))
    return Parsed(None if parser.problems else config, tree, tuple(parser.problems))


class Parser(Cursor):
    """Reads the fields of messages."""

    def fields(self, message: Any, path: str, fields: list[Field], closing: str) -> None:
        """Read into `message` and `fields` up to `closing` (or the end of the file)."""
        opened = self.tokens[self.next - 1]
        written: dict[str, Token] = {}
        while not self.take(closing) if closing else self.token.kind != "end":
            if self.token.kind == "end":
                self.stop(opened.at, f"this {opened.text} is never closed", f"add the missing {closing}")
            name = self.name(closing)
            field = message.DESCRIPTOR.fields_by_name.get(name.text)
            first = len(fields)
            if field is None:
                self._unknown(name, message.DESCRIPTOR, path)
            else:
                self._once(message, field, name, written, path)
                self._values(message, field, name, f"{path}{name.text}", fields)
            if self.token.text in (",", ";") and self.token.kind == "symbol":
                self.next += 1
            end = self.tokens[self.next - 1].at.end
            whole = Position(name.at.line, name.at.column, name.at.start, end)
            fields[first:] = [Field(f.name, f.value, f.at, whole) for f in fields[first:]]

    def _values(self, message: Any, field: Any, name: Token, path: str, fields: list[Field]) -> None:
        """One value, or a list of them in brackets."""
        has_colon = self.take(":")
        if not has_colon and field.cpp_type != MESSAGE:
            self.stop(self.token.at, f"{shown(self.token)} in place of a colon", f"write {name.text}: and its value")
        read: Callable[[], Message | Scalar | None] = (
            (lambda: self._message(message, field, path))
            if field.cpp_type == MESSAGE
            else (lambda: self._scalar(message, field, path))
        )
        values = []
        opening = self.token
        if not field.is_repeated or not self.take("["):
            values.append(read())
        elif not self.take("]"):
            values.append(read())
            while not self.take("]"):
                if not self.take(","):
                    if self.token.kind == "end":
                        self.stop(opening.at, "this [ is never closed", "add the missing ]")
                    self.stop(self.token.at, f"{shown(self.token)} in place of , or ]", "separate values by commas")
                values.append(read())
        fields += [Field(name.text, value, name.at, name.at) for value in values if value is not None]

    def _message(self, parent: Any, field: Any, path: str) -> Message:
        opening = self.token
        if opening.kind != "symbol" or opening.text not in CLOSING:
            self.stop(
                opening.at,
                f"{shown(opening)} in place of {{: {path} is a message",
                f"write {field.name} {{ ... }}, with any of {_names(field.message_type)} inside",
            )
        self.next += 1
        fields: list[Field] = []
        is_map = field.message_type.GetOptions().map_entry
        if is_map:
            message = field.message_type._concrete_class()
        elif field.is_repeated:
            message = getattr(parent, field.name).add()
        else:
            message = getattr(parent, field.name)
            message.SetInParent()
        self.fields(message, f"{path}.", fields, CLOSING[opening.text])
        if is_map:
            entries = getattr(parent, field.name)
            if field.message_type.fields_by_name["value"].cpp_type == MESSAGE:
                entries[message.key].CopyFrom(message.value)
            else:
                entries[message.key] = message.value
        end = self.tokens[self.next - 1].at.end
        return Message(tuple(fields), Position(opening.at.line, opening.at.column, opening.at.start, end))

    def _scalar(self, message: Any, field: Any, path: str) -> Scalar | None:
        first = self.token
        value = self._value(field, path)
        if value is None:
            return None
        last = self.tokens[self.next - 1]
        if field.is_repeated:
            getattr(message, field.name).append(self._number_of(field, value))
        else:
            setattr(message, field.name, self._number_of(field, value))
        return Scalar(value, Position(first.at.line, first.at.column, first.at.start, last.at.end))

    def _number_of(self, field: Any, value: ScalarValue) -> ScalarValue:
        is_name = field.cpp_type == ENUM and isinstance(value, str)
        return field.enum_type.values_by_name[value].number if is_name else value

    def _value(self, field: Any, path: str) -> ScalarValue | None:
        """The value here; None after reporting that it is not one for this field."""
        first = self.token
        is_negative = self.take("-")
        token = self.token
        if token.kind not in ("name", "number", *(() if is_negative else ("string",))):
            self.stop(token.at, f"{shown(token)} in place of a value of {path}", expected(field))
        self.next += 1
        if token.kind == "string":
            return self._text(token, field, path)
        value = scalar_from_token(token.text, field, is_negative)
        if value is None:
            at = Position(first.at.line, first.at.column, first.at.start, token.at.end)
            self._report_wrong_value(token, "-" if is_negative else "", at, field, path)
        return value

    def _text(self, token: Token, field: Any, path: str) -> str | None:
        """A string and those right behind it, which are one with it."""
        parts = [self.part(token)]
        while self.token.kind == "string":
            parts.append(self.part(self.token))
            self.next += 1
        if field.cpp_type == STRING:
            return "".join(parts)
        self._report_wrong_value(token, "", token.at, field, path)
        return None

    def _report_wrong_value(self, token: Token, sign: str, at: Position, field: Any, path: str) -> None:
        wrong = wrong_value(token, sign, at, field, path)
        self.report(wrong.code, at, wrong.message, wrong.advice, wrong.fix)

    def _once(self, message: Any, field: Any, name: Token, written: dict[str, Token], path: str) -> None:
        """Report a second value. One that only repeats a default, such as 0, is none to the server."""
        if not field.is_repeated and field.name in written and _is_set(message, field):
            line = written[field.name].at.line
            self.report("MR006", name.at, f"{path}{name.text} is written twice", f"keep one; line {line} has the other")
        oneof = field.containing_oneof
        rival = message.WhichOneof(oneof.name) if oneof is not None else None
        if rival is not None and rival != field.name:
            message_text = f"{path}{name.text} and {rival} (line {written[rival].at.line}) exclude each other"
            self.report("MR007", name.at, message_text, "keep one of them")
        written[field.name] = name

    def _unknown(self, name: Token, descriptor: Any, path: str) -> None:
        known = list(descriptor.fields_by_name)
        close = near(name.text, known)
        where = path.rstrip(".") or "a model's config"
        if close is None:
            self.report("MR002", name.at, f"{where} has no field {name.text}", f"it has {', '.join(sorted(known))}")
        else:
            fix = Fix(name.at.start, name.at.end, close) if is_slip(name.text, close) else None
            self.report("MR002", name.at, f"{where} has no field {name.text}", f"write {close}", fix)
        self.skip_value()


def _names(descriptor: Any) -> str:
    return ", ".join(field.name for field in descriptor.fields)


def _is_set(message: Any, field: Any) -> bool:
    if field.has_presence:
        return bool(message.HasField(field.name))
    return bool(getattr(message, field.name) != field.default_value)
