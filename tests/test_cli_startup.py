"""What a command line loads: its own subcommand, and no engine that it does not use."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from nnie_pipeline.cli import COMMANDS

HEAVY = {
    "cv2", "google.protobuf", "jinja2", "llvmlite", "numba", "onnx", "onnxruntime", "onnxslim",
    "plotly", "requests", "scipy", "urllib3", "yaml",
}  # fmt: skip

_LOADED = """
import sys
from nnie_pipeline.cli import main
try:
    main()
finally:
    sys.stderr.write(" ".join(sys.modules))
"""
_HEADER_ONLY = """
import sys
from nnie_pipeline.cli import main

class NoArrays:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            raise SystemExit(77)

sys.meta_path.insert(0, NoArrays())
main()
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def loaded(*arguments: str, status: int = 0) -> set[str]:
    done = run(_LOADED, *arguments)
    assert done.returncode == status, done.stderr[-500:]
    return set(done.stderr.split())


def of_the_house(modules: set[str]) -> set[str]:
    start = "nnie_pipeline.cli."
    names = {x.removeprefix(start) for x in modules if x.startswith(start)}
    return names & set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_what_a_subcommand_says_of_itself(name: str) -> None:
    said = importlib.import_module(f"nnie_pipeline.cli.{name}").command.__doc__
    assert COMMANDS[name] == said.splitlines()[0]


def test_help_loads_nothing_but_typer() -> None:
    modules = loaded("--help")
    assert "typer" in modules
    assert not of_the_house(modules)
    assert not modules & (HEAVY | {"numpy", "pydantic", "rich.console", "rich.table"})


@pytest.mark.parametrize("name", ["wk", "export-onnx"])
def test_a_subcommand_loads_no_other(name: str) -> None:
    modules = loaded(name, "--help")
    assert of_the_house(modules) == {name.replace("-", "_")}
    assert not modules & (HEAVY | {"numpy"})


def test_a_compiled_file_is_decoded_without_compiler_and_engines(shared: Path) -> None:
    file = shared / "models" / "retinaface_mnet025" / "mnet_mergebn_640L_inst.wk"
    modules = loaded("wk", str(file))
    assert "nnie_pipeline.wk.decode" in modules
    assert not modules & HEAVY


def test_tables_in_a_pipe_are_not_wrapped(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    file = shared / "models" / "retinaface_mnet025" / "mnet_mergebn_640L_inst.wk"
    done = run(_LOADED, "wk", str(file))
    rows = [x for x in done.stdout.splitlines() if x.startswith("│")]
    assert len(rows) == 10 + 58
    assert all("…" not in x and x.split("│")[1].strip() for x in rows)


def test_the_header_is_shown_before_anything_is_decoded(shared: Path) -> None:
    file = shared / "models" / "retinaface_mnet025" / "mnet_mergebn_640L_inst.wk"
    done = run(_HEADER_ONLY, "wk", str(file))
    assert done.returncode == 77
    assert "face_rpn_bbox_pred_stride32" in done.stdout


def test_a_file_without_header_needs_no_arrays(tmp_path: Path) -> None:
    file = tmp_path / "foreign.wk"
    file.write_bytes(b"PK\3\4" * 100)
    done = run(_HEADER_ONLY, "wk", str(file))
    assert done.returncode == 2
    assert "is not a .wk file" in done.stderr
