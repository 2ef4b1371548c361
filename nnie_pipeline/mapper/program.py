"""Where HiSilicon's nnie_mapper is, and what it has to be started with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnie_pipeline.errors import InputError

PROGRAM_VARIABLE = "NNIE_MAPPER"
IMAGE_VARIABLE = "NNIE_MAPPER_IMAGE"
_NAMES = ("nnie_mapper", "nnie_mapper_12", "nnie_mapper_11")
_MOST_FOLDERS = 200


@dataclass(frozen=True)
class Program:
    """A mapper on this machine (`path`), or in a docker image (`image`)."""

    name: str
    path: Path | None = None
    image: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else f"{self.name} in image {self.image}"

    def command(self, cfg: str, work: Path, root: Path, container: str) -> list[str]:
        """The words that run it on `cfg` in the folder `work`; an image sees `root`."""
        if self.path is not None:
            return [str(self.path), cfg]
        return [
            "docker", "run", "--rm", "--init", "--pull", "never", "--name", container,
            "--network", "none",
            "--user", f"{os.getuid()}:{os.getgid()}",
            "--volume", f"{root}:{root}", "--workdir", str(work), str(self.image), self.name, cfg,
        ]  # fmt: skip

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """`variables` with the mapper's own libraries first in LD_LIBRARY_PATH."""
        made = dict(variables)
        if self.path is not None:
            earlier = made.get("LD_LIBRARY_PATH")
            folders = [str(x) for x in library_folders(self.path)]
            made["LD_LIBRARY_PATH"] = os.pathsep.join([*folders, *([earlier] if earlier else [])])
        return made


def find_program(
    wanted: str, given: str | None, image: str | None, variables: Mapping[str, str]
) -> Program:
    """The mapper to run.

    Args:
        wanted: what the chip's mapper is called.
        given: a path that the user names, of the program or its folder.
        image: a docker image that the user names.
        variables: the environment: NNIE_MAPPER, NNIE_MAPPER_IMAGE, PATH.

    Raises:
        InputError: there is none, or it cannot be run.
    """
    if given is None and image is None:
        given, image = variables.get(PROGRAM_VARIABLE), variables.get(IMAGE_VARIABLE)
    if given:
        return Program(wanted, _executable(Path(given).expanduser(), wanted))
    if image:
        if shutil.which("docker", path=variables.get("PATH")) is None:
            raise InputError(f"docker, which is to run the image {image}, is not installed")
        return Program(wanted, image=image)
    for name in (wanted, _NAMES[0]):
        found = shutil.which(name, path=variables.get("PATH"))
        if found:
            return Program(wanted, Path(found).resolve())
    raise InputError(
        f"no mapper: set {PROGRAM_VARIABLE} to HiSilicon's {wanted} (it comes with the board's "
        f"SDK), or build the image of docker/mapper with your SDK and set {IMAGE_VARIABLE}"
    )


def _executable(path: Path, wanted: str) -> Path:
    if path.is_dir():
        names = dict.fromkeys((wanted, *_NAMES))
        found = [x / name for x in (path, path / "bin") for name in names if (x / name).is_file()]
        if not found:
            raise InputError(f"mapper {path}: the folder holds no {wanted}; name the program")
        path = found[0]
    if not path.is_file():
        raise InputError(f"mapper {path}: found nothing there; name HiSilicon's {wanted}")
    if not os.access(path, os.X_OK):
        raise InputError(f"mapper {path} is not executable; allow it with chmod +x")
    return path.resolve()


def library_folders(program: Path) -> Sequence[Path]:
    """The program's folder and those near it that hold libraries (*.so, *.so.N)."""
    near = [program.parent]
    for base in (program.parent, program.parent.parent):
        near += [base / "lib", base / "lib64", base / "libs"]
    near += sorted(x for x in program.parent.glob("*/") if x.is_dir())[:_MOST_FOLDERS]
    folders = [program.parent]
    for folder in dict.fromkeys(near[1:]):
        if folder.is_dir() and any(".so" in x.suffixes for x in folder.glob("*.so*")):
            folders.append(folder)
    return folders
