"""ONNX models as users bring them: read exactly, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnie_pipeline.errors import InputError, NotExpressibleError
from nnie_pipeline.onnx2caffe.convert import convert
from nnie_pipeline.onnx2caffe.load import external_files, load_model
from nnie_pipeline.onnx2caffe.normalise import fix
from nnie_pipeline.onnx2caffe.shape_folding import fold_shapes
from nnie_pipeline.onnx2caffe.versions import newest_runnable
from tests.onnx_models import converted, model, node, randoms, worst_error

CONV = {"w": randoms(6, 4, 3, 3), "k": randoms(6, seed=1)}
NODES = [node("Conv", "x w k", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "y")]


def saved(tmp_path: Path, source: onnx.ModelProto) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(source.SerializeToString())
    return path


# Versions


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 18, 21])
def test_opsets(opset: int, tmp_path: Path) -> None:
    converted(load_model(saved(tmp_path, model(NODES, CONV, opset=opset))))


def test_the_newest_opset_of_onnx_is_read_where_nothing_changed(tmp_path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    source = model(NODES, CONV, opset=newest, ir_version=onnx.IR_VERSION)
    done = converted(load_model(saved(tmp_path, source)))
    said = any(f"opset {newest} read as" in x for x in done.fixed.notes)
    assert said == (newest > newest_runnable())


@pytest.mark.parametrize("opset", [6, 99])
def test_an_opset_out_of_range_is_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=rf"is ONNX opset {opset}, nnie reads 7 to .*opset_version="
    ):
        load_model(saved(tmp_path, model(NODES, CONV, opset=opset)))


def test_an_operator_that_the_runnable_opset_defines_differently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnie_pipeline.onnx2caffe.versions.newest_runnable", lambda: 12)
    path = saved(tmp_path, model(NODES, CONV, opset=17))
    with pytest.raises(InputError, match=r"runs 12 at most, where Relu means something else.*=12"):
        load_model(path)


def test_an_operator_newer_than_the_opset(tmp_path: Path) -> None:
    path = saved(tmp_path, model([node("HardSwish", "x", "y")], opset=11))
    with pytest.raises(InputError, match=r"HardSwish exists from opset 14 on.*opset_version=14"):
        load_model(path)


def test_an_operator_older_than_the_opset(tmp_path: Path) -> None:
    nodes = [node("Upsample", "x s", "y")]
    path = saved(tmp_path, model(nodes, {"s": np.ones(4, np.float32)}, opset=11))
    with pytest.raises(InputError, match=r"Upsample was taken out of ONNX in opset 10.*version=9"):
        load_model(path)


def test_an_operator_that_onnx_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ONNX has no operator Frobnicate"):
        load_model(saved(tmp_path, model([node("Frobnicate", "x", "y")])))


# Inputs and constants


def test_initializers_as_inputs_and_inputs_that_nobody_needs(tmp_path: Path) -> None:
    source = model(NODES, CONV, {"x": (1, 4, 8, 8), "count": (), "w": (6, 4, 3, 3)}, opset=9)
    source.ir_version = 3
    source.graph.input.append(helper.make_tensor_value_info("k", TensorProto.FLOAT, [6]))
    source.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
    done = converted(load_model(saved(tmp_path, source)))
    assert list(done.net.inputs.values()) == [(1, 4, 8, 8)]


def test_an_input_read_only_by_bookkeeping_is_ignored() -> None:
    nodes = [*NODES, node("Add", "count one", "next")]
    source = model(nodes, {**CONV, "one": np.float32(1)}, {"x": (1, 4, 8, 8), "count": ()})
    assert list(converted(source).fixed.inputs) == ["x"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"value": numpy_helper.from_array(np.array([2.0], np.float32))},
        {"value_float": 2.0},
        {"value_floats": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]},
    ],
)
def test_constant_nodes(attributes: dict[str, object]) -> None:
    converted(model([node("Constant", "", "two", **attributes), node("Mul", "x two", "y")]))


@pytest.mark.parametrize("attributes", [{"value_ints": [1, -1]}, {"value_int": -1}])
def test_constant_nodes_of_whole_numbers(attributes: dict[str, object]) -> None:
    extra = [] if "value_ints" in attributes else [node("Unsqueeze", "n0 zero", "n")]
    first = node("Constant", "", "n0" if extra else "n", **attributes)
    values = {"zero": np.array([0])}
    nodes = [first, *extra, node("Reshape", "x n", "y")]
    if extra:
        nodes[-1] = node("Reshape", "x n2", "y")
        nodes.insert(-1, node("Concat", "one n", "n2", axis=0))
        values["one"] = np.array([1])
    assert next(iter(converted(model(nodes, values)).outputs)) == "y"


def test_weights_shared_by_nodes() -> None:
    weights = {"w": randoms(4, 4, 3, 3)}
    nodes = [node("Conv", "x w", "a", pads=[1] * 4), node("Conv", "a w", "y", pads=[1] * 4)]
    assert len(converted(model(nodes, weights)).net.layers) == 2


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ((1, 4), "has 2 axes"),
        ((1, "c", 8, 8), "leaves its channels open"),
        ((1, 64, 64, 3), "has its channels last"),
        ((1, 3, 5000, 8), "NNIE takes sides up to 4096"),
    ],
)
def test_inputs_that_are_no_pictures(dims: tuple[int | str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert(model([node("Relu", "x", "y")], inputs={"x": dims}), "net")


def test_a_model_that_reads_no_input() -> None:
    source = model([node("Relu", "k", "y")], {"k": randoms(1, 4)})
    with pytest.raises(InputError, match="no input that its outputs need"):
        convert(source, "net")


# Batch


@pytest.mark.parametrize("batch", [1, 4, "n"])
def test_the_batch_becomes_one(batch: int | str) -> None:
    weights = {**CONV, "g": randoms(6 * 64, 5)}
    to = np.array([batch if isinstance(batch, int) else 1, -1])
    nodes = [*NODES[:1], node("Reshape", "c to", "f"), node("Gemm", "f g", "y")]
    done = converted(model(nodes, {**weights, "to": to}, {"x": (batch, 4, 8, 8)}))
    assert done.fixed.inputs == {"x": (1, 4, 8, 8)}
    assert ("batch 4 becomes 1" in done.fixed.notes) == (batch == 4)


# Number types


def half(kind: int) -> onnx.ModelProto:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    values = {k: v.astype(dtype) for k, v in CONV.items()}
    nodes = [*NODES, node("Cast", "y", "z", to=kind)]
    return model(nodes, values, outputs=["z"], kind=kind)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_16_bit_floats_are_read_exactly(kind: int) -> None:
    done = converted(half(kind))
    assert "16-bit floats are read as float32, which is exact" in done.fixed.notes
    dtype = np.float16 if kind == TensorProto.FLOAT16 else ml_dtypes.bfloat16
    wanted = CONV["w"].astype(dtype).astype(np.float32)
    assert np.array_equal(done.net.layers[0].weights[0], wanted)


def test_float64_is_rounded_and_said() -> None:
    source = half(TensorProto.DOUBLE)
    done = converted(source)
    assert "float64 weights are rounded to the nearest float32" in done.fixed.notes


def test_float64_in_the_arithmetic_of_shapes_stays() -> None:
    nodes = [
        node("Shape", "x", "s"),
        node("Slice", "s two four", "hw"),
        node("Cast", "hw", "d", to=TensorProto.DOUBLE),
        node("Mul", "d factor", "m"),
        node("Floor", "m", "fl"),
        node("Cast", "fl", "i", to=TensorProto.INT64),
        node("Concat", "one minus i", "to", axis=0),
        node("Reshape", "x to", "y"),
    ]
    values = {
        "two": np.array([2]), "four": np.array([4]), "factor": np.array([2.0, 0.5]),
        "one": np.array([1]), "minus": np.array([-1]),
    }  # fmt: skip
    assert worst_error(convert(model(nodes, values), "net")) == 0


def test_an_integer_input_that_is_cast_is_read_as_float() -> None:
    source = model(
        [node("Cast", "x", "f", to=1), node("Conv", "f w k", "c"), node("Relu", "c", "y")], CONV
    )
    source.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    assert any("whole numbers" in x for x in converted(source).fixed.notes)


def test_an_integer_input_is_refused() -> None:
    source = model([node("Transpose", "x", "y", perm=[0, 2, 3, 1])])
    source.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    with pytest.raises(InputError, match=r"holds uint8.*float32 input"):
        convert(source, "net")


# Weights beside the model


def external(tmp_path: Path, place: str = "model.onnx.data", **fields: str) -> Path:
    source = model(NODES, CONV)
    data = b""
    for tensor in source.graph.initializer:
        raw = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": place, "offset": str(len(data)), "length": str(len(raw)), **fields}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        data += raw
    target = tmp_path / "inside"
    target.mkdir(exist_ok=True)
    (target / "model.onnx.data").write_bytes(data)
    return saved(target, source)


def test_external_weights_are_read(tmp_path: Path) -> None:
    path = external(tmp_path)
    loaded = load_model(path)
    whole = {x.name: numpy_helper.to_array(x) for x in loaded.graph.initializer}
    assert all(np.array_equal(whole[k], v) for k, v in CONV.items())
    converted(loaded)
    assert external_files(path) == ["model.onnx.data"]


@pytest.mark.parametrize(
    "place",
    ["../secret", "/etc/passwd", "a/../../secret", "a/../model.onnx.data", "C:\\x", "", "link"],
)
def test_external_weights_outside_of_the_folder_are_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(10000))
    path = external(tmp_path, place)
    (path.parent / "link").symlink_to(tmp_path / "secret")
    for read in (load_model, external_files):
        with pytest.raises(InputError, match="outside of the model's folder"):
            read(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"offset": "100000"}, "is truncated: 0 of"),
        ({"offset": "-5"}, "should have"),
        ({"offset": "many"}, "no readable offset"),
        ({"length": "5"}, "the model says 5"),
        ({"offset": str(1 << 70)}, "cannot be read"),
        ({"location": "nothing.data"}, "cannot be read"),
    ],
)
def test_damaged_external_weights(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(external(tmp_path, place=fields.pop("location", "model.onnx.data"), **fields))


def test_external_weights_larger_than_a_model_may_be(tmp_path: Path) -> None:
    path = external(tmp_path)
    source = onnx.load(path, load_external_data=False)
    source.graph.initializer[0].dims[:] = [1 << 20, 1 << 20]
    del source.graph.initializer[0].external_data[2]
    with pytest.raises(InputError, match="larger than"):
        load_model(saved(path.parent, source))


# Functions, branches, training, other weights


def test_functions_of_the_model() -> None:
    source = model([node("Block", "x w k", "y", domain="mine")], CONV)
    source.opset_import.append(helper.make_opsetid("mine", 1))
    source.functions.append(
        helper.make_function(
            "mine", "Block", ["x", "w", "k"], ["y"],
            [node("Conv", "x w k", "c"), node("Relu", "c", "y")], [helper.make_opsetid("", 17)],
        )
    )  # fmt: skip
    assert [x.type for x in converted(source).net.layers] == ["Convolution", "ReLU"]


def branch(condition: list[onnx.NodeProto], values: dict[str, object]) -> onnx.ModelProto:
    graphs = {
        f"{kind}_branch": helper.make_graph(
            [node("Mul", "x two", "m"), node(operator, "m", kind)], kind, [],
            [helper.make_tensor_value_info(kind, TensorProto.FLOAT, None)],
        )
        for kind, operator in (("then", "Relu"), ("else", "Sigmoid"))
    }  # fmt: skip
    nodes = [*condition, node("If", "yes", "i", **graphs), node("Conv", "i w k", "y")]
    return model(nodes, {**CONV, "two": np.float32(2), **values})


@pytest.mark.parametrize(("rows", "kind"), [(8, "ReLU"), (9, "Sigmoid")])
def test_a_branch_that_follows_from_shapes_is_folded(rows: int, kind: str) -> None:
    condition = [
        node("Shape", "x", "s"),
        node("Gather", "s at", "d"),
        node("Equal", "d rows", "yes"),
    ]
    source = branch(condition, {"at": np.array(2), "rows": np.array(rows)})
    assert kind in {x.type for x in converted(source).net.layers}


def test_a_branch_that_follows_from_the_picture_is_refused() -> None:
    condition = [node("ReduceMax", "x", "m0", keepdims=0), node("Greater", "m0 one", "yes")]
    with pytest.raises(NotExpressibleError, match=r"ONNX node"):
        convert(branch(condition, {"one": np.float32(1)}), "net")


def test_training_info_is_left_out() -> None:
    source = model(NODES, CONV)
    source.training_info.add().algorithm.CopyFrom(source.graph)
    assert not converted(source).fixed.reference.training_info


def test_a_quantised_model_is_refused() -> None:
    values = {**CONV, "s": np.float32(0.1), "z": np.int8(0)}
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
             node("Conv", "d w k", "y")]  # fmt: skip
    with pytest.raises(
        NotExpressibleError, match=r"quantises a float network itself.*export the float"
    ):
        convert(model(nodes, values), "net", cut=True)


def test_sparse_weights_are_refused() -> None:
    source = model([node("Conv", "x w k", "y")], {"k": CONV["k"]})
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "w"),
        numpy_helper.from_array(np.array([3])), [6, 4, 3, 3],
    )  # fmt: skip
    source.graph.sparse_initializer.append(sparse)
    with pytest.raises(NotExpressibleError, match="the weight w is sparse"):
        convert(source, "net")


@pytest.mark.parametrize("reader", ["value", "branch", "output"])
def test_the_mask_of_a_dropout_is_refused(reader: str) -> None:
    nodes = [node("Dropout", "x", "d mask")]
    if reader == "output":
        nodes.append(node("Relu", "d", "y"))
        source = model(nodes, outputs=("y", "mask"))
    elif reader == "value":
        nodes += [node("Cast", "mask", "m", to=1), node("Mul", "d m", "y")]
        source = model(nodes)
    else:
        inner = helper.make_tensor_value_info("v", TensorProto.FLOAT, None)
        branch_of_mask = helper.make_graph([node("Cast", "mask", "v", to=1)], "b", [], [inner])
        nodes += [node("ReduceMax", "x", "m0", keepdims=0), node("Greater", "m0 one", "yes"),
                  node("If", "yes", "y", then_branch=branch_of_mask,
                       else_branch=branch_of_mask)]  # fmt: skip
        source = model(nodes, {"one": np.float32(1)})
    with pytest.raises(
        NotExpressibleError, match=r"ONNX node Dropout_d \(Dropout\): its mask mask is used.*eval"
    ):
        convert(source, "net")


def test_the_mask_of_a_dropout_that_nobody_reads_does_not_matter() -> None:
    nodes = [
        node("Dropout", "x", "d mask"),
        node("Cast", "mask", "m", to=1),
        node("Relu", "d", "y"),
    ]
    converted(model(nodes))


# Folding


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("shape", [(8,), (8, 1), (8, 1, 1), (1, 8, 1, 1)])
def test_a_factor_behind_a_convolution_with_as_many_channels_as_columns(
    operator: str, shape: tuple[int, ...]
) -> None:
    weights = {"w": randoms(8, 8, 3, 3), "f": randoms(*shape, seed=2)}
    nodes = [node(operator, "x w", "c", pads=[1, 1, 1, 1]), node("Mul", "c f", "y")]
    converted(model(nodes, weights, {"x": (1, 8, 8, 8)}))


# Sizes


def test_shape_arithmetic_is_not_done_in_whole_numbers() -> None:
    nodes = [
        node("Shape", "x", "s"), node("Slice", "s", "hw", starts=[2], ends=[4]),
        node("Cast", "hw", "f", to=1),
        node("Div", "forty f", "r"), node("Concat", "ones r", "scales", axis=0),
        node("Upsample", "x scales", "y"),
    ]  # fmt: skip
    values = {
        "forty": np.array([40, 40], np.float32),
        "ones": np.ones(2, np.float32),
    }  # fmt: skip
    source = model(nodes, values, {"x": (1, 4, 15, 20)}, opset=9)
    fold_shapes(source)
    found = {x.name: numpy_helper.to_array(x) for x in source.graph.initializer}
    assert np.allclose(found["scales"], [1, 1, 40 / 15, 2])


def resized(sizes: tuple[int, ...], tail: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    nodes = [
        node("Conv", "x w k", "c", pads=[1] * 4),
        node("MaxPool", "c", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", "p - - sizes", "u", mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric"),
        node("Add", "u c", "y"),
        *(tail or []),
    ]  # fmt: skip
    return model(nodes, {**CONV, "sizes": np.array(sizes)}, {"x": (1, 4, 16, 16)})


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (8, 24)])
def test_resize_to_constant_sizes_follows_the_size(size: tuple[int, int]) -> None:
    done = converted(resized((1, 6, 16, 16)), size=size)
    said = [x for x in done.fixed.notes if "Resize_u by 2x2" in x]
    assert len(said) == (size != (16, 16))


def test_resize_to_constant_sizes_by_no_whole_factor_does_not_hold() -> None:
    nodes = resized((1, 6, 12, 12)).graph.node[:3]
    source = model(list(nodes), {**CONV, "sizes": np.array([1, 6, 12, 12])},
                   {"x": (1, 4, 16, 16)}, outputs=["u"])  # fmt: skip
    assert not fix(source, (32, 32), None).notes
    with pytest.raises(NotExpressibleError):
        convert(source, "net", (32, 32))


def test_a_reshape_to_the_old_size_matters_only_when_it_is_kept() -> None:
    tail = [node("Reshape", "y flat", "z")]
    source = resized((1, 6, 16, 16), tail)
    source.graph.initializer.append(numpy_helper.from_array(np.array([1, 6, 256]), "flat"))
    source.graph.output[0].name = "z"
    converted(source)
    converted(source, size=(32, 32), outputs=["y"])
    with pytest.raises(NotExpressibleError, match="a constant of another input size"):
        convert(source, "net", (32, 32))
    done = converted(source, size=(32, 32), cut=True)
    assert list(done.outputs) == ["y"]


def test_the_constants_of_scrfd_follow_the_size(shared: Path) -> None:
    source = load_model(shared / "models" / "scrfd" / "scrfd_500m_kps.onnx")
    done = converted(source, size=(96, 160), outputs=["394", "415"])
    assert len(done.outputs) == 2


def test_ultraface_of_old_exports(shared: Path) -> None:
    source = load_model(shared / "models" / "ultraface" / "version-slim-320.onnx")
    done = converted(source, size=(120, 160), outputs=["263"])
    assert list(done.net.inputs.values()) == [(1, 3, 120, 160)]
