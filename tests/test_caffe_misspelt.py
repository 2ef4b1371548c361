"""What is misspelt in a prototxt is named with line, layer and the nearest known name."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.chips.check import check_files
from nnie_pipeline.errors import InputError

HEAD = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 } # { "\n'


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "net.prototxt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_net(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('layer { name: "conv1" type: "Convolution" bottom: "data" top: "x"\n'
         "convolution_param { num_output: 2\nkernal_size: 3 } }",
         "line 4: layer conv1: no field kernal_size in convolution_param; did you mean "
         "kernel_size?"),
        ('layer {\nname: "x" type: "Convolutoin" bottom: "data" top: "x" }',
         "layer x (Convolutoin): unknown layer type, line 2; did you mean Convolution?"),
        ('layer { name: "x" type: "relu" bottom: "data" top: "x" }', "did you mean ReLU?"),
        ('layer { name: "x" type: "Zzzz" bottom: "data" top: "x" }', "replace it by layers"),
        ('layer { name: "x" type: "Pooling" bottom: "data" top: "x"\npooling_param { pool: AVG } }',
         "line 3: PoolMethod has no value AVG; did you mean AVE?"),
        ('layer { name: "x" type: "ReLU" botom: "data" top: "x" }',
         "layer x: no field botom in a layer; did you mean bottom?"),
        ('layr { name: "x" type: "ReLU" }', "line 2: no field layr in a network; did you mean "
         "layer?"),
        ("base_lr: 0.1", "line 2: no field base_lr in a network"),
        ('layer { name: "x" type: "ReLU" bottom: "data" top: "a\\nb" }', "control characters"),
        ("layer { name: 'x' type: 'Slice' bottom: 'data' top: 'x' slice_param { slice_point: "
         "[1, 2] slice_pont: [3] } }", "no field slice_pont in slice_param; did you mean "
         "slice_point?"),
    ],
)  # fmt: skip
def test_the_nearest_name_is_given(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(write(tmp_path, HEAD + text))


def test_an_unknown_type_is_a_finding_of_the_check(tmp_path: Path) -> None:
    text = 'layer { name: "x" type: "Mystery" bottom: "data" top: "x" mystery_param { a: 1 } }'
    path = write(tmp_path, HEAD + text)
    found = check_files(path, None, "hi3516dv300")
    assert "unsupported-type" in {x.id for x in found}
    assert "unknown layer type" in refusal(path)


def test_layers_of_training_may_have_fields_of_any_fork(tmp_path: Path) -> None:
    text = (
        'layer { name: "data" type: "RoiData" top: "data" roi_data_param { a { b: 1 } } }\n'
        'layer { name: "x" type: "ReLU" bottom: "data" top: "x" }\n'
        'layer { name: "train" type: "Odd" bottom: "x" include { phase: TRAIN } '
        "odd_param { a: 1 } }"
    )
    assert [x.name for x in read_net(write(tmp_path, HEAD + text)).layers] == ["x"]


CHINESE = "输入 卷积层".encode("gbk")
LAYER = b'layer { name: "x" type: "ReLU" bottom: "data" top: "x" }'


@pytest.mark.parametrize("comment", [CHINESE, "Größe".encode("latin-1"), b"\xff\xfe\x5c\x22 '"])
def test_comments_may_be_in_any_encoding(tmp_path: Path, comment: bytes) -> None:
    text = b"# " + comment + b"\n" + HEAD.encode() + LAYER + b" # " + comment
    path = write(tmp_path, text)
    assert [x.name for x in read_net(path).layers] == ["x"]
    assert check_files(path, None, "hi3516dv300") is not None


def test_names_must_be_utf8(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD.encode() + LAYER.replace(b'"x"', b'"' + CHINESE + b'#"'))
    assert "(line 2) is not UTF-8 text, which only comments may lack" in refusal(path)
    path = write(tmp_path, HEAD + LAYER.decode().replace('"x"', '"输入"'))
    assert read_net(path).outputs == ["输入"]
