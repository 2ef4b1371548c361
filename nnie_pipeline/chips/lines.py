"""Where a prototxt names its layers and inputs."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<open>[{<])|(?P<close>[}>])|(?P<word>[A-Za-z_]\w*)"""
)


def name_lines(prototxt: str) -> dict[str, int]:
    """The line (from 1) of each layer's `name: "x"` and of each `input: "x"`, by the name.

    Of several with one name the first counts. Text that is no prototxt gives what it gives.

    Args:
        prototxt: the text of the file.
    """
    lines: dict[str, int] = {}
    depth, word, entry = 0, "", ""
    line, counted = 1, 0
    for token in _TOKEN.finditer(prototxt):
        kind, text = token.lastgroup, token[0]
        if kind == "word":
            word = text
        elif kind == "open":
            entry = word if depth == 0 else entry
            depth += 1
        elif kind == "close":
            depth -= 1
        elif kind == "string":
            in_layer = depth == 1 and entry in {"layer", "layers"}
            if (in_layer and word == "name") or (depth == 0 and word == "input"):
                line += prototxt.count("\n", counted, token.start())
                counted = token.start()
                lines.setdefault(text[1:-1], line)
    return lines
