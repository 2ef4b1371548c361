"""Build real Caffe with its Python module, CPU only, out of an sdist: `make pycaffe`.

The sdist `brocolli-caffe` carries BVLC Caffe with the layers of the SSD fork. Its own
setup.py wants conda, so it is built with CMake against Debian's libraries. The result is
kept in the user's cache and made once for a Python version.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

from nnie_pipeline.errors import InputError
from nnie_pipeline.files import replaced_folder
from nnie_pipeline.zoo.cache import cache_folder
from nnie_pipeline.zoo.index import download, find_archive, hash_file
from nnie_pipeline.zoo.pip_settings import pip_settings
from nnie_pipeline.zoo.source import Packaged

_SHA256 = "c6410cc60bdd6db685d441b66be7df05410f8850ac88d6b75d48ef9b2315c08a"
_SOURCE = Packaged(
    kind="pypi-sdist", package="brocolli-caffe", version="9.0.2",
    member="brocolli-caffe-9.0.2/CMakeLists.txt", size=1, sha256=_SHA256,
)  # fmt: skip
PACKAGES = (
    "cmake", "g++", "libboost-filesystem-dev", "libboost-python-dev", "libboost-regex-dev",
    "libboost-system-dev", "libboost-thread-dev", "libgflags-dev", "libgoogle-glog-dev",
    "libhdf5-dev", "libopenblas-dev", "libprotobuf-dev", "make", "protobuf-compiler",
)  # fmt: skip
"""Debian packages that the build needs."""

_LARGEST_SOURCE = 256 << 20
_PTH = "nnie_pycaffe.pth"


def build() -> Path:
    """Build pycaffe, or find it in the cache, and let this Python import it.

    Returns:
        The folder that holds the package `caffe`.

    Raises:
        InputError: a Debian package is missing, Debian's boost-python is for another Python
            version, or the sources cannot be fetched or compiled.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache_folder() / f"pycaffe-{_SHA256[:12]}-{sysconfig.get_config_var('SOABI')}"
    if not (folder / "caffe" / "_caffe.so").exists():
        boost = _require_system(version)
        with tempfile.TemporaryDirectory(prefix="nnie-pycaffe-") as name:
            source = _sources(Path(name))
            library = _compile(source, Path(name) / "build", boost)
            with replaced_folder(folder) as place:
                shutil.copytree(
                    source / "python" / "caffe", place / "caffe",
                    ignore=shutil.ignore_patterns("test", "*.cpp", "imagenet", "_caffe.so"),
                )  # fmt: skip
                shutil.copyfile(library, place / "caffe" / "_caffe.so")
    site = Path(sysconfig.get_path("purelib"))
    (site / _PTH).write_text(f"{folder}\n", encoding="utf-8")
    return folder


def _require_system(version: str) -> Path:
    """The boost-python library of this Python version.

    Raises:
        InputError: see `build`.
    """
    missing = [x for x in PACKAGES if not _installed(x)]
    if missing:
        raise InputError(
            f"pycaffe needs Debian packages that are not installed; as root: apt-get install "
            f"{' '.join(missing)} (or take the caffe of conda-forge, docker/environment.yml)"
        )
    found = sorted(Path("/usr/lib").glob("*/libboost_python3*.so"))
    wanted = f"libboost_python{version.replace('.', '')}.so"
    for path in found:
        if path.name == wanted:
            return path
    names = ", ".join(re.sub(r"\D*(\d)(\d+)\.so", r"\1.\2", x.name) for x in found) or "none"
    raise InputError(
        f"this is Python {version}, but Debian's boost-python is for {names}; make .venv with that "
        "Python (make PYTHON=python3.11) or take the caffe of conda-forge"
    )


def _installed(package: str) -> bool:
    command = ["dpkg-query", "-W", "-f", "${Status}", package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise InputError(
            "pycaffe is built with Debian's packages, and this is no Debian; take the caffe of "
            "conda-forge (docker/environment.yml)"
        ) from error
    return done.stdout.startswith("install ok")


def _sources(folder: Path) -> Path:
    settings = pip_settings()
    by_hand = "take the caffe of conda-forge (docker/environment.yml)"
    archive = find_archive(_SOURCE, settings, by_hand)
    path = folder / "archive.tar.gz"
    download(archive, settings.access, path, by_hand, None)
    found = hash_file(path)
    if found != _SHA256:
        raise InputError(f"{archive.filename} has sha256 {found}, not {_SHA256}; do not build it")
    with tarfile.open(path) as tar:
        members = [x for x in tar if x.isfile() and "/.git/" not in x.name]
        if sum(x.size for x in members) > _LARGEST_SOURCE:
            raise InputError(f"{archive.filename} unpacks to more than {_LARGEST_SOURCE} bytes")
        tar.extractall(folder, members, filter="data")
    return folder / _SOURCE.member.split("/", maxsplit=1)[0]


def _compile(source: Path, build_folder: Path, boost: Path) -> Path:
    import numpy as np

    build_folder.mkdir()
    # The sources link to a boost_python without a version.
    (build_folder / "libboost_python.so").symlink_to(boost)
    multiarch = boost.parent
    includes = [
        sysconfig.get_paths()["include"],
        np.get_include(),
        "/usr/include/hdf5/serial",
        f"/usr/include/{multiarch.name}/openblas-pthread",
    ]
    environment = {**os.environ, "CPLUS_INCLUDE_PATH": ":".join(includes)}
    configure = [
        "cmake", str(source), "-DCMAKE_BUILD_TYPE=Release", "-DCPU_ONLY=ON", "-DBUILD_docs=OFF",
        f"-DCMAKE_SHARED_LINKER_FLAGS=-L{build_folder} -L{multiarch}/hdf5/serial",
        "-DCMAKE_CXX_FLAGS=-DBOOST_BIND_GLOBAL_PLACEHOLDERS",
    ]  # fmt: skip
    make = ["make", f"-j{os.cpu_count() or 1}", "pycaffe"]
    log = cache_folder() / "pycaffe-build.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as out:
        for command in (configure, make):
            done = subprocess.run(
                command, cwd=build_folder, env=environment, stdout=out, stderr=out, check=False
            )
            if done.returncode:
                raise InputError(f"building pycaffe failed in {command[0]}; see {log}")
    library = next(build_folder.rglob("_caffe.so"), None)
    if library is None:
        raise InputError(f"building pycaffe made no _caffe.so; see {log}")
    return library


if __name__ == "__main__":
    from nnie_pipeline.cli.common import reported

    @reported
    def _main() -> None:
        sys.stdout.write("building pycaffe (some minutes, once)\n")
        sys.stdout.write(f"pycaffe: {build()}\n")

    _main()
