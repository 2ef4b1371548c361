"""cfg --check and --explain: anybody's cfg file judged, and put into words."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import ShapeError
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.sets import RECORD, read_set
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.cfg import Cfg, scan_cfg
from nnie_pipeline.mapper.cfg_files import file_findings
from nnie_pipeline.mapper.cfg_network import model_findings, network_findings
from nnie_pipeline.mapper.cfg_pictures import Progress, list_findings
from nnie_pipeline.mapper.cfg_rules import CfgFinding, text_findings
from nnie_pipeline.mapper.cfg_weights import open_network
from nnie_pipeline.mapper.folder import inputs_of
from nnie_pipeline.mapper.options import (
    PREFERRED,
    UNUSED_MEANS,
    Option,
    options,
    sources,
    undocumented,
)
from nnie_pipeline.mapper.picture_files import Size

_LARGEST = 1 << 20


def read_any(path: Path) -> Cfg:
    """The cfg file at `path` as it stands; text that is not UTF-8 is taken as GBK.

    Raises:
        InputError: it cannot be read, or is larger than 1 MB.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is larger than {_LARGEST} bytes; is it a cfg file?")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give a cfg file") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("gb18030", errors="replace")
    return scan_cfg(text)


def check_cfg(
    path: Path,
    home: Path | None = None,
    spec: InputSpec | None = None,
    nnie: str | None = None,
    progress: Progress | None = None,
) -> list[CfgFinding]:
    """All that is wrong with a cfg file, by the lines; empty if nothing is.

    The network is read with its weights, and of every picture in a list the header.

    Args:
        path: the cfg file.
        home: where the mapper runs and relative paths start; None is the file's own folder.
        spec: what the model wants of its input; None takes the calibration set of the build that
            the file lies in, if it does.
        nnie: the generation of the chip, where it is known.
        progress: called with (done, all) for the pictures of a list.

    Raises:
        InputError: it cannot be read.
    """
    cfg = read_any(path)
    place = path.resolve().parent if home is None else home
    net, unread = open_network(cfg, place)
    network: list[CfgFinding] = []
    sizes: list[Size | None] = []
    if net is not None:
        with contextlib.suppress(ShapeError):  # `unread` says why
            sizes = _picture_sizes(net)
            network = list(network_findings(cfg, net, place))
    # What the network's layers ask for says more than which issue of the guide a value is from.
    text = text_findings(cfg, nnie)
    if any(x.key == "net_type" for x in network):
        text = [x for x in text if not x.message.startswith("net_type is ")]
    found = [*text, *file_findings(cfg, place), *unread, *network]
    found += list_findings(cfg, place, sizes, progress)
    beside = path.resolve().parent.parent / "calibration"
    if spec is None and (beside / RECORD).is_file():
        spec = read_set(beside).input
    if spec is not None:
        found += model_findings(cfg, spec, place)
    return sorted(dict.fromkeys(found), key=lambda x: x.line)


def _picture_sizes(net: Net) -> list[Size | None]:
    """(height, width) of each input, None for what is no picture."""
    shapes = inputs_of(net).values()
    return [(x[2], x[3]) if len(x) == 4 and x[1] in (1, 3) else None for x in shapes]


def explain_cfg(cfg: Cfg) -> list[tuple[str, str]]:
    """Each line of a cfg file that is not empty, and what it means."""
    several = len(cfg.inputs()) > 1
    seen: Counter[str] = Counter()
    lines = {number: (text, _foreign(text)) for number, text in cfg.foreign}
    for entry in cfg.entries:
        key = PREFERRED.get(entry.key, entry.key)
        seen[key] += 1
        option = options().get(key)
        if option is not None:
            number = f"input {seen[key]}: " if option.group and several else ""
            meaning = number + _in_words(option, entry.value)
        elif entry.key in undocumented():
            meaning = "no document says what this option does"
        else:
            meaning = "no option of the mapper"
        if entry.comment:
            meaning += f"\ncomment: {entry.comment} (no document says that the mapper skips it)"
        lines[entry.line] = (f"[{entry.key}] {entry.value}".rstrip(), meaning)
    return [lines[x] for x in sorted(lines)]


def _foreign(text: str) -> str:
    if text.startswith("#"):
        return "a comment (no document says that the mapper skips it)"
    return "no option: a line is [key] value"


def explain_defaults(cfg: Cfg) -> list[tuple[str, str]]:
    """The options that a cfg file leaves out, each with what then holds."""
    given = {PREFERRED.get(x.key, x.key) for x in cfg.entries}
    return [
        (f"[{key}] {option.default}", _in_words(option, option.default))
        for key, option in options().items()
        if key not in given and option.default is not None
    ]


def explain_options() -> list[tuple[str, str]]:
    """Every option, its values and what it means; a line each, and where that is from."""
    lines = []
    for key, option in options().items():
        said = [option.meaning]
        if option.kind == "choice":
            said += [f"{value}: {meaning}" for value, meaning in option.values.items()]
        else:
            said.append(f"value: {option.range}")
        if option.group:
            said.append("once for every input, in the prototxt's order")
        if option.many:
            said.append("may be repeated")
        if len(option.nnie) == 1:
            said.append(f"known to the mapper of NNIE {option.nnie[0]} only")
        if option.default is not None:
            said.append(f"left out: {option.default}")
        elif option.needed:
            said.append("has to be there")
        said.append(f"source: {sources()[option.source]}")
        lines.append((f"[{key}]", "\n".join(said)))
    return lines


def _in_words(option: Option, value: str) -> str:
    problem = option.problem(value)
    if problem is not None:
        older = f"; {value} is {option.older[value]}" if value in option.older else ""
        return f"{option.meaning}\nwrong: {option.key} {problem}{older}"
    if option.kind == "mean" and value.lower() in UNUSED_MEANS:
        return f"{option.meaning}\nhere none are read"
    if option.kind == "number" and _fraction(value):
        return f"{option.meaning}: {_fraction(value)}"
    chosen = option.values.get(value)
    return f"{option.meaning}: {chosen}" if chosen else option.meaning


def _fraction(value: str) -> str | None:
    """1/N where a number is that to seven digits."""
    number = float(value)
    below = round(1 / number) if 1e-6 < number < 1 else 0
    return f"1/{below}" if below and abs(number * below - 1) < 1e-7 else None
