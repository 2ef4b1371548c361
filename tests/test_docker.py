"""docker/: nothing there but package installs and make targets, which are tested natively."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from nnie_pipeline.stages.build_pycaffe import PACKAGES

ROOT = Path(__file__).resolve().parents[1]


def run_lines(dockerfile: Path) -> list[str]:
    text = re.sub(r"\\\n", " ", dockerfile.read_text(encoding="utf-8"))
    return [x.removeprefix("RUN ").strip() for x in text.splitlines() if x.startswith("RUN ")]


def test_every_run_line_is_a_package_install_or_a_make_target() -> None:
    lines = run_lines(ROOT / "docker" / "Dockerfile")
    assert lines
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for line in lines:
        words = line.split()
        assert words[0] == "apt-get" or (words[0] == "make" and set(words[1:]) <= set(targets)), (
            line
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
