"""The fields of a prototxt with their lines, for messages that say where something stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)"""
    r"""|(?P<string>"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?)"""
    r"""|(?P<mark>[{}<>:;,\[\]])"""
    r"""|(?P<word>[^\s{}<>:;,\[\]"'#]+)"""
)


@dataclass
class Field:
    """A field as written: its name, its line (from 1), the text of its last value (quotes off),
    and, of a message, its fields."""

    name: str
    line: int
    text: str = ""
    fields: list[Field] = field(default_factory=list)

    def first(self, name: str) -> str:
        """The text of the first field called `name`, or nothing."""
        return next((x.text for x in self.fields if x.name == name), "")


def scan(text: str) -> list[Field]:
    """The fields of the whole text. Text that is no prototxt gives what it gives."""
    root = Field("", 0)
    open_fields = [root]
    lists: list[int] = []
    line, expecting = 1, False
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token[0]
        inside = open_fields[-1].fields
        in_list = bool(lists) and lists[-1] == len(open_fields)
        if kind == "skip":
            line += word.count("\n")
        elif kind == "string" or (kind == "word" and (expecting or in_list)):
            if inside:
                inside[-1].text = word[1:].rstrip(word[0]) if kind == "string" else word
            expecting = False
        elif kind == "word":
            inside.append(Field(word, line))
        elif word in "{<":
            expecting = False
            if inside:
                open_fields.append(inside[-1])
        elif word in "}>" and len(open_fields) > 1:
            open_fields.pop()
        elif word == "[":
            lists.append(len(open_fields))
            expecting = False
        elif word == "]" and lists:
            lists.pop()
        elif word == ":":
            expecting = True
    return root.fields


def unknown_fields(
    fields: list[Field], message: type[Message]
) -> Iterator[tuple[Field, Field | None, Any]]:
    """Every field that `message` does not have: it, the field around it, and the descriptor of
    the message around it."""
    pending: list[tuple[list[Field], Field | None, Any]] = [(fields, None, message.DESCRIPTOR)]
    while pending:
        inside, parent, descriptor = pending.pop()
        for item in inside:
            known = descriptor.fields_by_name.get(item.name)
            if known is None:
                yield item, parent, descriptor
            elif known.message_type is not None:
                pending.append((item.fields, item, known.message_type))
