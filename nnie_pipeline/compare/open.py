"""Opening a dump of any kind."""

from __future__ import annotations

import os
from pathlib import Path

from nnie_pipeline.compare.board import is_board, read_board
from nnie_pipeline.compare.caffe_floats import is_caffe_floats, read_caffe_floats
from nnie_pipeline.compare.dumps import RECORD, Dump, read_dump
from nnie_pipeline.compare.mapper_quant import NAME, is_mapper_quant, read_mapper_quant
from nnie_pipeline.errors import InputError

DOT = "cnn_net_tree.dot"
_MOST_FILES = 100_000


def open_dump(folder: Path, dot: Path | None = None) -> Dump:
    """The dump in `folder`, whatever wrote it: this project, the mapper, a board, the script.

    `dot` names the layers of a board's or simulator's dump; without it a cnn_net_tree.dot in
    the folder or beside it is taken. A folder that holds mapper_quant/ stands for that.

    Raises:
        InputError: it holds no dump, or a damaged one.
    """
    names = _files(folder)
    if RECORD in names:
        return read_dump(folder)
    if is_board(names):
        return read_board(folder, names, dot or _beside(folder))
    if is_caffe_floats(names):
        return read_caffe_floats(folder, names)
    if is_mapper_quant(names):
        return read_mapper_quant(folder, names)
    if (folder / NAME).is_dir():
        return read_mapper_quant(folder / NAME, _files(folder / NAME))
    raise InputError(
        f"{folder} is no dump: it has neither {RECORD} (make one with nnie dump) nor files of "
        "mapper_quant, seg*_layer*_output*.linear.hex or *_caffe.linear.float"
    )


def _files(folder: Path) -> list[str]:
    found: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(found) == _MOST_FILES:
                    raise InputError(
                        f"{folder} holds more than {_MOST_FILES} files; give the folder of one dump"
                    )
                if entry.is_file():
                    found.append(entry.name)
    except OSError as error:
        raise InputError(
            f"{folder} is no dump: {error.strerror}; give a folder, for instance one that "
            "nnie dump made"
        ) from error
    return found


def _beside(folder: Path) -> Path | None:
    places = (folder / DOT, folder.parent / DOT)
    return next((x for x in places if x.is_file()), None)
