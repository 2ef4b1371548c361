"""The table of operators in the documentation: `python -m nnie_pipeline.onnx2caffe.table`.

It is made of the converters' docstrings: the first line says what an operator becomes, the
lines after it what its limits are.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from nnie_pipeline.files import write_text
from nnie_pipeline.onnx2caffe import operators
from nnie_pipeline.onnx2caffe.graph import CONVERTERS

assert operators  # importing the package fills the registry

PLACE = Path("docs") / "operators.md"

_HEAD = """# ONNX operators

Made by `python -m nnie_pipeline.onnx2caffe.table`; do not edit. An operator that is not here is
refused, and a node that its converter cannot express exactly is refused with the reason and a
remedy. `nnie inspect model.onnx` says so beforehand.

| ONNX | becomes | limits | test |
|---|---|---|---|
"""


def table(tests: Path) -> str:
    """The Markdown text; `tests` is the folder in which each operator's test is looked up."""
    texts = {x.name: x.read_text(encoding="utf-8") for x in sorted(tests.glob("test_*.py"))}
    rows = []
    for operator, converter in sorted(CONVERTERS.items()):
        first, limits = _described(inspect.getdoc(converter) or "")
        test = _test_of(operator, texts)
        rows.append(f"| {operator} | {first} | {limits} | {test} |\n")
    return _HEAD + "".join(rows)


def _described(text: str) -> tuple[str, str]:
    """The first line, and the rest up to "Raises:", each on one line."""
    first, _, rest = text.partition("\n")
    rest = re.split(r"^(?:Raises|Args):", rest, flags=re.MULTILINE)[0]
    return tuple(" ".join(x.split()).replace("|", "\\|") for x in (first, rest))  # type: ignore[return-value]


def _test_of(operator: str, texts: dict[str, str]) -> str:
    """The test files that name the operator in quotes; the one that does so most often."""
    counts = {k: len(re.findall(rf"[\"']{operator}[\"']", v)) for k, v in texts.items()}
    operator_tests = {k: v for k, v in counts.items() if v and k.startswith("test_operators_")}
    best = operator_tests or {k: v for k, v in counts.items() if v}
    return f"tests/{max(best, key=lambda k: best[k])}" if best else ""


def main() -> None:
    """Write the table into the checkout in the current folder."""
    tests = Path("tests")
    if not tests.is_dir():
        sys.exit("run this in a checkout of nnie-pipeline")
    write_text(PLACE, table(tests))


if __name__ == "__main__":
    main()
