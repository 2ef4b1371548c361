"""docker/: nothing there but package installs and make targets, which are tested natively."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from nnie_pipeline.stages.build_pycaffe import PACKAGES

ROOT = Path(__file__).resolve().parents[1]


def run_lines(dockerfile: Path) -> list[str]:
    text = re.sub(r"\\\n", " ", dockerfile.read_text(encoding="utf-8"))
    return [x.removeprefix("RUN ").strip() for x in text.splitlines() if x.startswith("RUN ")]


DOCKERFILES = {
    "docker/Dockerfile": "Makefile",
    "docker/mapper/Dockerfile": "docker/mapper/Makefile",
}


@pytest.mark.parametrize("name", sorted(DOCKERFILES))
def test_every_run_line_is_a_package_install_or_a_make_target(name: str) -> None:
    lines = run_lines(ROOT / name)
    assert lines
    makefile = (ROOT / DOCKERFILES[name]).read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", makefile, re.M)
    for line in lines:
        words = line.split()
        assert words[0] == "apt-get" or (words[0] == "make" and set(words[1:]) <= set(targets)), (
            line
        )


def test_every_dockerfile_is_held_to_that_rule() -> None:
    assert {str(x.relative_to(ROOT)) for x in (ROOT / "docker").rglob("Dockerfile*")} == set(
        DOCKERFILES
    )


def test_the_image_has_what_the_build_of_pycaffe_needs() -> None:
    lines = run_lines(ROOT / "docker" / "Dockerfile")
    installed = {word for line in lines if line.startswith("apt-get") for word in line.split()}
    assert set(PACKAGES) <= installed
    assert "make pycaffe" in lines


def test_the_ci_installs_the_same_packages() -> None:
    assert set(PACKAGES) - {"make"} <= set((ROOT / ".ci" / "run").read_text().split())


def test_the_conda_environment_has_caffe_beside_this_checkout() -> None:
    found = yaml.safe_load((ROOT / "docker" / "environment.yml").read_text(encoding="utf-8"))
    assert found["channels"] == ["conda-forge"]
    assert "caffe" in found["dependencies"]
    assert found["dependencies"][-1] == {"pip": ["-e .."]}


def test_the_mapper_s_image_is_of_its_time_and_holds_nothing_of_the_vendor() -> None:
    text = (ROOT / "docker" / "mapper" / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^FROM ubuntu:14\.04$", text, re.M)
    assert "protobuf-cpp-3.5.1.tar.gz" in text
    assert "opencv/archive/3.4.2.tar.gz" in text
    assert "-DWITH_CUDA=OFF" in (ROOT / "docker" / "mapper" / "Makefile").read_text()
    kept = {x.name for x in (ROOT / "docker" / "mapper").iterdir() if x.suffix != ".tgz"}
    assert kept == {"Dockerfile", "Makefile", "find_mapper.sh"}
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {f"docker/mapper/*.{x}" for x in ("tgz", "zip", "tar*")} <= set(ignored)


def mapper_make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A target of docker/mapper's Makefile, run in a copy of its folder."""
    for name in ("Makefile", "find_mapper.sh"):
        shutil.copy(ROOT / "docker" / "mapper" / name, folder)
    return subprocess.run(
        ["make", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def sdk(folder: Path, program: str = "nnie_mapper_12") -> Path:
    """An SDK as the vendor packs it: archives in archives."""
    tool = folder / "tool" / "mapper"
    (tool / "bin").mkdir(parents=True)
    (tool / "lib").mkdir()
    (tool / "bin" / program).write_text('#!/bin/sh\necho mapped "$1"\n')
    (tool / "lib" / "libsvp.so").touch()
    inner = shutil.make_archive(str(folder / "pc" / "nnie"), "gztar", folder / "tool")
    (folder / "pc" / "board.tgz").write_bytes(b"no archive")
    assert Path(inner).is_file()
    shutil.make_archive(str(folder / "outer" / "tools"), "zip", folder / "pc")
    (folder / "sdk").mkdir()
    made = shutil.make_archive(str(folder / "sdk" / "sdk"), "gztar", folder / "outer")
    return Path(made)


@pytest.mark.parametrize("program", ["nnie_mapper", "nnie_mapper_11", "nnie_mapper_12"])
def test_the_mapper_is_found_in_the_sdk(tmp_path: Path, program: str) -> None:
    sdk(tmp_path, program)
    done = mapper_make(tmp_path, "mapper", f"DEST={tmp_path / 'opt'}")
    assert done.returncode == 0, done.stderr
    assert "board.tgz cannot be unpacked" in done.stderr
    assert (tmp_path / "opt" / "lib" / "libsvp.so").is_file()
    for name in ("nnie_mapper", "nnie_mapper_11", "nnie_mapper_12"):
        ran = subprocess.run(
            [tmp_path / "opt" / "bin" / name, "x.cfg"], capture_output=True, text=True, check=True
        )
        assert ran.stdout == "mapped x.cfg\n"


def test_an_sdk_without_a_mapper_is_named(tmp_path: Path) -> None:
    (tmp_path / "sdk").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "readme").touch()
    shutil.make_archive(str(tmp_path / "sdk" / "sdk"), "zip", tmp_path / "in")
    done = mapper_make(tmp_path, "mapper", f"DEST={tmp_path / 'opt'}")
    assert done.returncode == 2
    assert "holds no nnie_mapper" in done.stderr
    assert not (tmp_path / "opt").exists()
    done = mapper_make(tmp_path, "mapper", "SDK=gone.tgz", f"DEST={tmp_path / 'opt'}")
    assert "SDK archive 'gone.tgz' is missing" in done.stderr


def test_sources_are_checked_before_they_are_built(tmp_path: Path) -> None:
    """An archive of the same name whose configure and Makefile only say what they are asked."""
    source = tmp_path / "protobuf-3.5.1"
    source.mkdir()
    (source / "configure").write_text('#!/bin/sh\necho configured "$@"\n')
    (source / "configure").chmod(0o755)
    (source / "Makefile").write_text("all:\n\t@echo built\ninstall:\n\t@echo installed\n")
    archive = tmp_path / "protobuf-cpp-3.5.1.tar.gz"
    subprocess.run(["tar", "czf", archive, "-C", tmp_path, source.name], check=True)
    refused = mapper_make(tmp_path, "protobuf", "PREFIX=/p")
    assert refused.returncode != 0
    assert "configured" not in refused.stdout
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    done = mapper_make(tmp_path, "protobuf", "PREFIX=/p", f"PROTOBUF_SHA256={digest}")
    assert done.returncode == 0, done.stderr
    said = ["configured --prefix=/p --disable-static", "built", "installed"]
    assert [x for x in done.stdout.splitlines() if x in said] == said
