"""cfg --check and --explain: anybody's cfg file judged, and put into words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.sets import RECORD, read_set
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.cfg import Cfg, scan_cfg
from nnie_pipeline.mapper.cfg_files import file_findings
from nnie_pipeline.mapper.cfg_network import model_findings, network_findings
from nnie_pipeline.mapper.cfg_rules import CfgFinding, line_of, text_findings
from nnie_pipeline.mapper.options import PREFERRED, Option, options

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
    path: Path, home: Path | None = None, spec: InputSpec | None = None, nnie: str | None = None
) -> list[CfgFinding]:
    """All that is wrong with a cfg file, by the lines; empty if nothing is.

    Args:
        path: the cfg file.
        home: where the mapper runs and relative paths start; None is the file's own folder.
        spec: what the model wants of its input; None takes the calibration set of the build that
            the file lies in, if it does.
        nnie: the generation of the chip, where it is known.

    Raises:
        InputError: it cannot be read.
    """
    cfg = read_any(path)
    place = path.resolve().parent if home is None else home
    found = [*text_findings(cfg, nnie), *file_findings(cfg, place), *_network(cfg, place)]
    beside = path.resolve().parent.parent / "calibration"
    if spec is None and (beside / RECORD).is_file():
        spec = read_set(beside).input
    if spec is not None:
        found += model_findings(cfg, spec, place)
    return sorted(dict.fromkeys(found), key=lambda x: x.line)


def _network(cfg: Cfg, home: Path) -> Iterator[CfgFinding]:
    name = cfg.get("prototxt_file")
    if not name or not (home / name).is_file():
        return
    try:
        net = read_net(home / name, any_type=True)
    except InputError as error:
        line = line_of(cfg, "prototxt_file")
        yield CfgFinding(line, "prototxt_file", "error", str(error), "see nnie check")
        return
    yield from network_findings(cfg, net, home)


def explain_cfg(cfg: Cfg) -> list[tuple[str, str]]:
    """Each line of a cfg file and what it means."""
    lines = []
    for entry in cfg.entries:
        option = options().get(PREFERRED.get(entry.key, entry.key))
        meaning = "no option of the mapper" if option is None else _in_words(option, entry.value)
        lines.append((f"[{entry.key}] {entry.value}".rstrip(), meaning))
    return lines


def explain_defaults(cfg: Cfg) -> list[tuple[str, str]]:
    """The options that a cfg file leaves out, each with what then holds."""
    given = {PREFERRED.get(x.key, x.key) for x in cfg.entries}
    return [
        (f"[{key}] {option.default}", _in_words(option, option.default))
        for key, option in options().items()
        if key not in given and option.default is not None
    ]


def explain_options() -> list[tuple[str, str]]:
    """Every option, its values and what it means."""
    lines = []
    for key, option in options().items():
        said = [f"{option.meaning} ({option.range})"]
        said += [f"{value}: {meaning}" for value, meaning in option.values.items()]
        if option.default is not None:
            said.append(f"default {option.default}")
        if option.group:
            said.append("once for every input, in the prototxt's order")
        said.append(f"source: {option.source}")
        lines.append((f"[{key}]", "; ".join(said)))
    return lines


def _in_words(option: Option, value: str) -> str:
    problem = option.problem(value)
    if problem is not None:
        return f"{option.meaning}; {problem}"
    chosen = option.values.get(value)
    return f"{option.meaning}: {chosen}" if chosen else option.meaning
