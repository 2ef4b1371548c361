"""The wheel: what it holds, and that it works where it is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from nnie_pipeline.resources import data_folder
from tests.builds import once, pictures
from tests.tiny_models import two_convolutions

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "nnie_pipeline"
DATA = ("prototxt_templates", "calibration", "mapper_cfg")


def clean() -> dict[str, str]:
    """The environment without what would lead Python back to the checkout."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}


def call(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=clean(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as the package index would get it."""

    def make(place: Path) -> None:
        offline = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
        call(sys.executable, "-m", "build", *offline, "--outdir", place, ROOT, cwd=place)

    (path,) = once(tmp_path_factory, "wheel", make).glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel; its dependencies are those of this environment."""

    def make(place: Path) -> None:
        call(sys.executable, "-m", "venv", "--without-pip", place / "env", cwd=place)
        python = place / "env" / "bin" / "python"
        site = call(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place
        )
        dependencies = sysconfig.get_path("purelib")
        (Path(site.strip()) / "dependencies.pth").write_text(f"{dependencies}\n")
        pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
        call(*pip, "--no-deps", "--no-index", wheel, cwd=place)

    return once(tmp_path_factory, "installed", make) / "env"


def files(folder: Path) -> set[str]:
    return {
        x.relative_to(folder).as_posix()
        for x in folder.rglob("*")
        if x.is_file() and "__pycache__" not in x.parts
    }


def test_the_wheel_holds_the_package_its_data_and_no_more(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"nnie_pipeline/{x}" for x in files(PACKAGE)}
    for folder in DATA:
        assert files(ROOT / folder)
        expected |= {f"nnie_pipeline/data/{folder}/{x}" for x in files(ROOT / folder)}
    assert {x for x in names if ".dist-info/" not in x} == expected
    for needed in (
        *("caffe/caffe.proto", "zoo/models/retinaface.yaml", "chips/rules.yaml"),
        *("report/templates/page.html", "data/calibration/pictures.yaml"),
        *("data/mapper_cfg/nnie_mapper.cfg.j2", "data/prototxt_templates/README.md"),
    ):
        assert f"nnie_pipeline/{needed}" in names
    assert any(x.endswith("licenses/LICENSE") for x in names)


def test_an_installed_wheel_finds_its_data(installed: Path, tmp_path: Path) -> None:
    script = (
        f"from nnie_pipeline.resources import data_folder\nfor x in {DATA}: print(data_folder(x))\n"
    )
    found = [
        Path(x) for x in call(installed / "bin" / "python", "-c", script, cwd=tmp_path).split()
    ]
    assert [x.name for x in found] == list(DATA)
    assert all(x.is_relative_to(installed) for x in found)
    assert [files(x) for x in found] == [files(ROOT / x) for x in DATA]


def test_an_installed_wheel_runs(installed: Path, tmp_path: Path) -> None:
    two_convolutions(tmp_path / "tiny.onnx")
    pictures(tmp_path / "pics")
    nnie = installed / "bin" / "nnie"
    assert "verdict: ready" in call(nnie, "run", "tiny.onnx", "--images", "pics", cwd=tmp_path)
    built = tmp_path / "build" / "tiny-32x32"
    assert (built / "mapper" / "tiny_inst_8bit.cfg").exists()
    assert (built / "report.html").stat().st_size > 1000
    with pytest.raises(AssertionError, match="did you mean retinaface"):
        call(nnie, "run", "retinafase", cwd=tmp_path)


def test_an_editable_installation_finds_its_data(tmp_path: Path) -> None:
    """This environment is one: `make` installs the checkout with pip install -e."""
    assert [data_folder(x) for x in DATA] == [ROOT / x for x in DATA]
    script = "from nnie_pipeline.resources import data_folder; print(data_folder('mapper_cfg'))"
    found = call(sys.executable, "-c", script, cwd=tmp_path)
    assert Path(found.strip()) == ROOT / "mapper_cfg"


def test_a_broken_installation_says_so() -> None:
    with pytest.raises(FileNotFoundError, match="install it again"):
        data_folder("no_such_folder")
