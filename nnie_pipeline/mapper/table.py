"""The cfg options as a document: `python -m nnie_pipeline.mapper.table > docs/cfg.md`."""

from __future__ import annotations

import sys

from nnie_pipeline.mapper.options import PREFERRED, Option, options, sources, undocumented

_HEAD = """# The options of nnie_mapper's cfg files

Generated from `mapper_cfg/options.yaml` by `python -m nnie_pipeline.mapper.table`; do not edit.
`nnie cfg` writes these files, `nnie cfg --check FILE.cfg` says what is wrong with anybody's, and
`nnie cfg --explain FILE.cfg` prints the meaning of each line.

A line is `[option] value`. The order of lines is free, but the options "for each input" are one
group an input, and the groups stand in the order of the inputs in the prototxt. Paths are ASCII,
relative to the folder that the mapper runs in.

`--check` reads all that the file names: the network together with its weights, the means, and the
header and size of every picture in a list. It prints errors (the mapper would refuse the file, or
make a wrong network), warnings and hints. It ends with status 1 where there are errors, 0 where
there are none, and 2 for a file that cannot be read.
"""


def markdown() -> str:
    """The text of `docs/cfg.md`."""
    each_input = [x for x in options().values() if x.group]
    network = [x for x in options().values() if not x.group]
    parts = [
        _HEAD,
        "## For the whole network\n",
        _table(network),
        "## For each input\n",
        _table(each_input),
        "## Other spellings\n",
        "\n".join(
            f"- `{other}`: the guide's tables say so, its figures and all working files say "
            f"`{usual}`, which is written here."
            for other, usual in PREFERRED.items()
        )
        + "\n",
        "## Options that no document describes\n",
        "\n".join(f"- `{x}`: nnie cfg never writes it, --check warns." for x in undocumented())
        + "\n",
        "## Sources\n",
        "\n".join(f"- {key}: {text}" for key, text in sorted(sources().items())) + "\n",
    ]
    return "\n".join(parts)


def _table(chosen: list[Option]) -> str:
    lines = ["| option | meaning | values | default | source |", "|---|---|---|---|---|"]
    lines += [_row(x) for x in chosen]
    return "\n".join(lines) + "\n"


def _row(option: Option) -> str:
    cells = (f"`{option.key}`", _meaning(option), _values(option), _default(option), option.source)
    return f"| {' | '.join(' '.join(x.split()).replace('|', chr(92) + '|') for x in cells)} |"


def _meaning(option: Option) -> str:
    text = option.meaning
    if option.many:
        text += "; may be repeated"
    if len(option.nnie) == 1:
        text += f"; NNIE {option.nnie[0]} only"
    return text


def _values(option: Option) -> str:
    if option.kind != "choice":
        return option.range
    lines = [f"`{value}` {meaning}" for value, meaning in option.values.items()]
    lines += [f"`{value}` {meaning}" for value, meaning in option.older.items()]
    return "<br>".join(lines)


def _default(option: Option) -> str:
    if option.default is not None:
        return f"`{option.default}`"
    return "has to be there" if option.needed else "none"


if __name__ == "__main__":
    sys.stdout.write(markdown())
