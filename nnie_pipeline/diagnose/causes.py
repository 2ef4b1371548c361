"""The causes that users meet, as data."""

from __future__ import annotations

from collections.abc import Iterator

from nnie_pipeline.diagnose import input_causes, network_causes, reading_causes
from nnie_pipeline.diagnose.case import FLOAT, Case
from nnie_pipeline.diagnose.hypothesis import Cause, Hypothesis, UnjudgedError


def _width(case: Case) -> Iterator[Hypothesis]:
    if len(case.bits) > 1:
        raise UnjudgedError("nobody said how many bits the dump should have: say it with --bits")
    for bits in (8, 16, FLOAT):
        if bits not in case.bits:
            wanted = f"{case.bits[0]} bit" if case.bits[0] else "float"
            yield Hypothesis(
                f"{f'{bits} bit' if bits else 'float'} numbers instead of {wanted}", bits=(bits,)
            )


def _height_and_width(case: Case) -> Iterator[Hypothesis]:
    yield from input_causes.height_and_width(case)
    yield from reading_causes.output_height_and_width(case)


def _stride(case: Case) -> Iterator[Hypothesis]:
    yield from reading_causes.stride(case)
    yield from input_causes.stride(case)


CAUSES: tuple[Cause, ...] = (
    Cause(
        "channel-order", "channel order (BGR or RGB)", input_causes.channel_order,
        "set RGB_order and the board's planes to the network's order",
        "feed a picture of pure red: the dumped data layer shows which plane it is in",
    ),
    Cause(
        "mean-scale-order", "mean subtracted after scaling", input_causes.mean_and_scale,
        "nnie_mapper subtracts first: write the mean in pixels; for a script that multiplies "
        "first, give it mean times scale",
        "feed a black picture: (0 - mean) * scale or -mean stands in the data layer",
    ),
    Cause(
        "normalisation", "normalised twice, not at all or in part", input_causes.normalisation,
        "normalise once: in the cfg (norm_type) or in the network, not in both",
        "feed a white picture and read the data layer: (255 - mean) * scale once",
    ),
    Cause(
        "wrong-picture", "another picture", input_causes.wrong_picture,
        "put the picture last in image_list: the mapper dumps the last one only",
        "dump again with a list of this one picture",
    ),
    Cause(
        "stride", "rows not de-strided", _stride,
        "go on by u32Stride bytes after each row, in reading and in feeding",
        "dump a blob whose rows fill 16 and 32 bytes: it comes out right",
    ),
    Cause(
        "q20.12", "20.12 fixed point not applied once", reading_causes.fixed_point,
        "divide the board's int32 by 4096, once",
        "look at a Softmax: its values add up to 1, to 4096 or to 1/4096",
    ),
    Cause(
        "output-order", "outputs in another order", reading_causes.output_order,
        "take outputs by the node names of the .wk; they stand in the prototxt's order",
        "print the node names and shapes that the board reports",
    ),
    Cause(
        "bits", "another number of bits", _width,
        "set compile_mode (0: 8 bit, 1: 16 bit) and convert again",
        "count distinct magnitudes in an octave of a dumped input: 16 at 8 bit, 128 at 16",
    ),
    Cause(
        "off-by-one", "Crop or ceil off by one", network_causes.off_by_one,
        "train or export with ceil_mode, and compare the sizes of every pooling and crop",
        "dump the layer behind the first pooling or crop alone",
    ),
    Cause(
        "height-width", "height and width exchanged", _height_and_width,
        "sizes are written height, width in the prototxt and C, H, W in files",
        "feed a picture with a bright left half: the data layer shows which half is bright",
    ),
    Cause(
        "geometry", "letterbox against stretch", input_causes.geometry,
        "lay pictures onto the input as in calibration and training",
        "feed a picture of the network's own shape: all ways are one, the difference goes",
    ),
    Cause(
        "not-merged", "weights not merged", network_causes.not_merged,
        "give the caffemodel that belongs to the merged prototxt",
        "dump the first convolution alone: its bias is the merged shift or zero",
    ),
    Cause(
        "wrong-eps", "BatchNorm merged with a wrong eps", network_causes.wrong_eps,
        "merge with the eps of the prototxt; the mapper uses it too",
        "compare the merged weights of the channel with the smallest variance",
    ),
)  # fmt: skip
"""Every cause that is tried; the order decides nothing."""
