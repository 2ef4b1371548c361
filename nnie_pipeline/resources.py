"""Where the data folders that ship with the project are found."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_folder(name: str) -> Path:
    """The shipped folder `name` ("prototxt_templates", "calibration" or "mapper_cfg").

    In a wheel it lies inside the package, in a checkout or an editable install beside it.

    Raises:
        FileNotFoundError: neither place has it: the installation is broken.
    """
    for place in (_PACKAGE / "data" / name, _PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"data folder {name} of nnie-pipeline is missing; install it again")
