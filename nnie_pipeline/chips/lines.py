"""Where a prototxt names its layers and inputs."""

from __future__ import annotations

from nnie_pipeline.caffe.scan import scan


def name_lines(prototxt: str) -> dict[str, int]:
    """The line (from 1) of each layer's `name: "x"` and of each `input: "x"`, by the name.

    Of several with one name the first counts. Text that is no prototxt gives what it gives.

    Args:
        prototxt: the text of the file.
    """
    lines: dict[str, int] = {}
    for entry in scan(prototxt):
        if entry.name == "input":
            lines.setdefault(entry.text, entry.line)
        elif entry.name in {"layer", "layers"}:
            for part in entry.fields:
                if part.name == "name":
                    lines.setdefault(part.text, part.line)
    return lines
