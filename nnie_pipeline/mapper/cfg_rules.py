"""What is wrong with a cfg file by itself, before any file that it names is opened."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nnie_pipeline.mapper.cfg import Cfg
from nnie_pipeline.mapper.options import (
    PATHS,
    PREFERRED,
    UNUSED_MEANS,
    Option,
    options,
    undocumented,
)

Severity = Literal["error", "warning", "hint"]

MEAN_TYPES = {"1": ".binaryproto", "2": "text", "4": ".binaryproto", "5": "text"}
"""The norm_types that read means, and from what."""

SCALE_TYPES = ("3", "4", "5")
_GENERATIONS = ("1.1", "1.2")


@dataclass(frozen=True)
class CfgFinding:
    """One finding on a cfg file; `line` counts from 1, 0 is the file as a whole."""

    line: int
    key: str
    severity: Severity
    message: str
    fix: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def text_findings(cfg: Cfg, nnie: str | None = None) -> list[CfgFinding]:
    """All findings, in the order of the lines; `nnie` is the generation of the chip, if known."""
    parts = (
        _foreign(cfg), _keys(cfg), _values(cfg, nnie), _missing(cfg), _groups(cfg),
        _normalisation(cfg), _speed(cfg),
    )  # fmt: skip
    found = [finding for part in parts for finding in part]
    return sorted(found, key=lambda x: x.line)


def line_of(cfg: Cfg, key: str, number: int = -1) -> int:
    """The line of the n-th (default: last) entry of `key`; 0 where there is none."""
    lines = [x.line for x in cfg.entries if x.key == key]
    return lines[number] if lines and -len(lines) <= number < len(lines) else 0


def _foreign(cfg: Cfg) -> Iterator[CfgFinding]:
    for line, text in cfg.foreign:
        if not text.startswith("#"):
            yield CfgFinding(line, "", "error", f"{text[:60]!r} is no option", "write [key] value")
        else:
            yield _comment(line, "")
    for entry in cfg.entries:
        if entry.comment:
            yield _comment(entry.line, entry.key)


def _comment(line: int, key: str) -> CfgFinding:
    return CfgFinding(
        line, key, "warning",
        "a comment: no document says that the mapper skips it, it may become part of the value",
        "take it out",
    )  # fmt: skip


def _keys(cfg: Cfg) -> Iterator[CfgFinding]:
    table = options()
    for entry in cfg.entries:
        if entry.key in PREFERRED:
            better = PREFERRED[entry.key]
            yield CfgFinding(
                entry.line, entry.key, "warning",
                f"the guide's tables say {entry.key}, its own examples and all working files say "
                f"{better}",
                f"write [{better}]",
            )  # fmt: skip
        elif entry.key in undocumented():
            yield CfgFinding(
                entry.line, entry.key, "warning",
                f"no document says what {entry.key} does, or which mapper knows it",
                "take it out, unless HiSilicon told you to write it",
            )  # fmt: skip
        elif entry.key not in table:
            near = difflib.get_close_matches(entry.key, table, n=1)
            fix = f"did you mean {near[0]}?" if near else "nnie cfg --explain lists all options"
            yield CfgFinding(entry.line, entry.key, "error", "is no option of the mapper", fix)
    counts = Counter(PREFERRED.get(x.key, x.key) for x in cfg.entries)
    for key, count in counts.items():
        option = table.get(key)
        if option is not None and count > 1 and not option.group and not option.many:
            # A scale beside each input is how several inputs are seen in the wild.
            if key == "data_scale" and len(set(cfg.values(key))) == 1:
                continue
            yield CfgFinding(
                line_of(cfg, key), key, "error", f"stands there {count} times", "keep one of them"
            )


def _values(cfg: Cfg, nnie: str | None) -> Iterator[CfgFinding]:
    for entry in cfg.entries:
        option = options().get(PREFERRED.get(entry.key, entry.key))
        if option is None:
            continue
        problem = option.problem(entry.value)
        if problem is not None:
            older = option.older.get(entry.value)
            severity: Severity = "warning" if older and nnie != "1.2" else "error"
            fix = f"{entry.value} is {older}" if older else _legal(option, entry.value)
            yield CfgFinding(entry.line, entry.key, severity, f"{entry.key} {problem}", fix)
        elif not entry.value.isascii():
            yield CfgFinding(
                entry.line, entry.key, "error", "the mapper takes ASCII paths only",
                "rename the file or folder with A-Z a-z 0-9 _ . -",
            )  # fmt: skip
        if option.nnie != _GENERATIONS and nnie is not None and nnie not in option.nnie:
            yield CfgFinding(
                entry.line, entry.key, "error", f"the mapper of NNIE {nnie} has no such option",
                "take the line out",
            )  # fmt: skip
        elif option.kind in PATHS and " " in entry.value:
            yield CfgFinding(
                entry.line, entry.key, "warning",
                "a path with a space: no document says that the mapper takes it",
                "rename the file or folder with A-Z a-z 0-9 _ . -",
            )  # fmt: skip
        if option.kind == "output" and entry.value.endswith(".wk"):
            yield CfgFinding(
                entry.line, entry.key, "warning", "the mapper adds .wk itself", "write it without"
            )


def _legal(option: Option, value: str) -> str:
    """What to write instead of a value that is none."""
    if not value:
        return f"write {option.range}"
    if option.kind == "choice":
        near = next((x for x in option.values if x.lower() == value.lower()), None)
        word = difflib.get_close_matches(value.split(maxsplit=1)[0], option.values, n=1)
        best = near or (word[0] if word else None)
        return f"write {best}" if best else "write one of these"
    return "write a shorter path" if option.kind == "output" else "write a number in this range"


def _missing(cfg: Cfg) -> Iterator[CfgFinding]:
    for key, option in options().items():
        if option.needed and not cfg.values(key):
            yield CfgFinding(0, key, "error", f"the line [{key}] is missing", _added(option))


def _added(option: Option) -> str:
    if option.kind == "mean":
        return "add [mean_file] null, also where no means are read"
    return f"add it: {option.meaning}"


def _groups(cfg: Cfg) -> Iterator[CfgFinding]:
    counts = {x: len(cfg.values(x)) for x, option in options().items() if option.group}
    wanted = counts["image_list"]
    for key, count in counts.items():
        if count and wanted and count != wanted:
            yield CfgFinding(
                line_of(cfg, key), key, "error",
                f"{count} times {key}, but {wanted} times image_list",
                "give every input image_list, image_type, norm_type and mean_file",
            )  # fmt: skip


def _normalisation(cfg: Cfg) -> Iterator[CfgFinding]:
    scale = cfg.get("data_scale")
    scaled = False
    for number, group in enumerate(cfg.inputs()):
        norm, mean = group.get("norm_type", ""), group.get("mean_file", "")
        line, mean_line = line_of(cfg, "norm_type", number), line_of(cfg, "mean_file", number)
        if group.get("image_type") == "0" and norm in ("1", "2", "3", "4", "5"):
            yield CfgFinding(
                line, "norm_type", "warning",
                f"norm_type {norm} with image_type 0: the guide's table allows 0 only (a figure "
                "of its Custom layers shows 3)",
                "write norm_type 0 and put what is to be computed into the tensors",
            )  # fmt: skip
        scaled |= norm in SCALE_TYPES
        if norm in MEAN_TYPES and mean.lower() in UNUSED_MEANS:
            yield CfgFinding(
                mean_line, "mean_file", "error",
                f"norm_type {norm} and mean_file {mean} do not go together",
                f"name the {MEAN_TYPES[norm]} file of the means, or choose norm_type 0 or 3",
            )  # fmt: skip
        elif MEAN_TYPES.get(norm) == "text" and mean.lower().endswith(".binaryproto"):
            yield CfgFinding(
                mean_line, "mean_file", "error",
                f"norm_type {norm} reads a text file, a number a channel, not a .binaryproto",
                f"write norm_type {int(norm) - 1}, or name a text file",
            )  # fmt: skip
        elif MEAN_TYPES.get(norm) == ".binaryproto" and not mean.lower().endswith(".binaryproto"):
            yield CfgFinding(
                mean_line, "mean_file", "error",
                f"norm_type {norm} reads a .binaryproto, not {mean[:60]}",
                f"write norm_type {int(norm) + 1}, or name a .binaryproto",
            )  # fmt: skip
    if scaled and scale is None:
        yield CfgFinding(
            0, "data_scale", "warning", "no data_scale: the mapper takes 1/256",
            "write the model's own scale, with all its digits",
        )  # fmt: skip
    elif scaled and scale == "1":
        yield CfgFinding(
            line_of(cfg, "data_scale"), "data_scale", "hint",
            "a scale of 1 changes nothing", "norm_type 0 or 2 says the same",
        )  # fmt: skip
    elif scale is not None and not scaled and cfg.values("norm_type"):
        yield CfgFinding(
            line_of(cfg, "data_scale"), "data_scale", "hint",
            "no norm_type reads data_scale", "leave it out",
        )  # fmt: skip


def _speed(cfg: Cfg) -> Iterator[CfgFinding]:
    if cfg.get("log_level") == "3" and cfg.get("is_simulation") == "0":
        yield CfgFinding(
            line_of(cfg, "log_level"), "log_level", "hint",
            "log_level 3 makes the run for the chip still slower",
            "dump in a run with is_simulation 1: the numbers are the same",
        )  # fmt: skip
