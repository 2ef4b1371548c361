"""The number format: equal to HiSilicon's own quantiser, and to the formula it documents."""

from __future__ import annotations

import concurrent.futures
import math
import multiprocessing
import os
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nnie_pipeline.errors import InputError
from nnie_pipeline.quant import gfpq
from tests.conftest import missing
from tests.peers import APPLY_ONLY, INIT, UPDATE, GfpqParameters, Quantiser, libgfpq

Floats = npt.NDArray[np.float32]

STEPS = {8: 16, 16: 128}
TOP = {8: 127, 16: 1407}
Z_LIMIT = {8: 511, 16: 4095}
untimed = settings(deadline=None)  # the first call compiles
both_widths = pytest.mark.parametrize("bits", [8, 16])


def same_bits(a: Floats, b: Floats) -> bool:
    return bool(np.array_equal(a.view(np.int32), b.view(np.int32)))


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(np.float32(low), np.float32(high), width=32)


arrays = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3), elements=floats(-1e6, 1e6))
widths = st.sampled_from([8, 16])


@st.composite
def widths_and_z(draw: st.DrawFn) -> tuple[int, int]:
    bits = draw(widths)
    return bits, draw(st.integers(-Z_LIMIT[bits], Z_LIMIT[bits]))


def first_above(numerator: int, denominator: int) -> Fraction:
    """The smallest float32 (24 bits, any exponent) above 2^(numerator/denominator)."""
    octave, part = divmod(numerator, denominator)
    low, high = 1 << 23, 1 << 24
    while low < high:
        middle = (low + high) // 2
        if middle**denominator > 1 << (part + 23 * denominator):
            high = middle
        else:
            low = middle + 1
    return Fraction(low, 1 << 23) * Fraction(2) ** octave


# --- HiSilicon's own results ---------------------------------------------------------------


def test_vectors_of_the_library(shared: Path) -> None:
    vectors = np.load(shared / "vectors" / "gfpq.npz")
    cases = [name.removesuffix("/input") for name in vectors if name.endswith("/input")]
    single = [case for case in cases if not case.startswith("sequence/")]
    assert len(single) >= 28
    for case in single:
        bits = int(case.split("/")[1])
        y, z = gfpq.quantize(vectors[f"{case}/input"], bits)
        assert z == vectors[f"{case}/z"], case
        assert same_bits(y, vectors[f"{case}/output"]), case


@both_widths
def test_sequence_of_the_library(shared: Path, bits: int) -> None:
    vectors = np.load(shared / "vectors" / "gfpq.npz")
    z, modes = 0, []
    for step in range(5):
        case = f"sequence/{bits}/{step}"
        x, mode = vectors[f"{case}/input"], int(vectors[f"{case}/mode"])
        if mode == INIT:
            z = gfpq.range_z(x, bits)
        elif mode == UPDATE:
            z = gfpq.update(x, bits, z)
        y, used = gfpq.quantize(x, bits, z)
        assert used == z == vectors[f"{case}/z"]
        assert same_bits(y, vectors[f"{case}/output"])
        modes.append(mode)
    assert {INIT, UPDATE, APPLY_ONLY} == set(modes)


@pytest.fixture(scope="module")
def peer() -> Quantiser:
    found = libgfpq()
    if found is None:
        missing("libgfpq (Linux x86-64, from the package index)")
        raise AssertionError
    return found


def initialised(peer: Quantiser, bits: int, z: int) -> GfpqParameters:
    """The library's state after an array of range `z`."""
    parameters = GfpqParameters(INIT)
    peer(np.array([2.0 ** ((z + TOP[bits] + 0.5) / STEPS[bits])], np.float32), bits, parameters)
    assert parameters.z == z
    return parameters


def around(magnitudes: npt.NDArray[np.float64], ulps: int) -> Floats:
    """float32 values up to `ulps` representable values around `magnitudes`, of both signs."""
    middle = magnitudes.astype(np.float32).view(np.int32)[:, None]
    near = (middle + np.arange(-ulps, ulps + 1, dtype=np.int32)).ravel().view(np.float32)
    return np.concatenate([near, -near])


@both_widths
def test_rounding_boundaries_are_the_library_s(peer: Quantiser, bits: int) -> None:
    steps, limit = STEPS[bits], Z_LIMIT[bits]
    for z in [*range(-limit, limit, 4 * steps), limit]:
        codes = np.arange(z - steps - 2, z + TOP[bits] + 2)
        x = around(2.0 ** (codes / steps), 2)
        x = np.concatenate([x, around(2.0 ** ((codes + 0.5) / steps), 2)])
        parameters = initialised(peer, bits, z)
        parameters.mode = APPLY_ONLY
        expected = x.copy()
        peer(expected, bits, parameters)
        assert same_bits(gfpq.quantize(x, bits, z)[0], expected), z


@both_widths
def test_zero_boundaries_are_the_library_s(peer: Quantiser, bits: int) -> None:
    steps, limit = STEPS[bits], Z_LIMIT[bits]
    stride = {8: 3, 16: 17}[bits]  # odd: every position within the octave occurs
    for z in [*range(-limit, limit, stride), limit]:
        x = around(2.0 ** ((z - steps + np.array([0, 1])) / steps), 3)
        parameters = initialised(peer, bits, z)
        parameters.mode = APPLY_ONLY
        expected = x.copy()
        peer(expected, bits, parameters)
        assert same_bits(gfpq.quantize(x, bits, z)[0], expected), z


@both_widths
def test_range_boundaries_are_the_library_s(peer: Quantiser, bits: int) -> None:
    steps = STEPS[bits]
    low, high = TOP[bits] - Z_LIMIT[bits], TOP[bits] + Z_LIMIT[bits]
    largest = around(2.0 ** (np.arange(low - 2, high + 3) / steps), 1)
    for value in largest[: len(largest) // 2]:
        parameters = GfpqParameters(INIT)
        peer(np.array([value]), bits, parameters)
        assert gfpq.range_z(value, bits) == parameters.z, value


@both_widths
def test_ten_million_values_as_the_library(peer: Quantiser, bits: int) -> None:
    rng = np.random.default_rng(bits)
    size = 2_000_000
    anything = rng.integers(0, 1 << 32, size, np.uint32).view(np.float32)
    logarithmic = (rng.choice([-1, 1], size) * 2.0 ** rng.uniform(-45, 45, size)).astype("f")
    bounded = np.where(np.isfinite(anything) & (abs(anything) < 1e4), anything, 1)
    batches = [
        anything,
        logarithmic,
        rng.standard_normal(size, np.float32) * np.float32(10.0 ** rng.uniform(-8, 8)),
        rng.standard_cauchy(size).astype(np.float32),
        bounded.astype(np.float32),
    ]
    assert sum(map(len, batches)) >= 10_000_000
    for x in batches:
        parameters = GfpqParameters(INIT)
        expected = x.copy()
        peer(expected, bits, parameters)
        y, z = gfpq.quantize(x, bits)
        assert z == parameters.z
        assert same_bits(y, expected)


@both_widths
def test_modes_as_the_library(peer: Quantiser, bits: int) -> None:
    rng = np.random.default_rng(bits)
    special = np.array([0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-40, 1e-6], np.float32)
    for _ in range(300):
        parameters, z = GfpqParameters(INIT), 0
        for step in range(4):
            x = rng.standard_normal(rng.integers(1, 70)) * 10.0 ** rng.uniform(-12, 14)
            x = x.astype(np.float32)
            if rng.random() < 0.3:
                x[rng.integers(len(x))] = rng.choice(special)
            if rng.random() < 0.1:
                x[:] = rng.choice(special)
            mode = INIT if step == 0 else int(rng.choice([INIT, UPDATE, APPLY_ONLY]))
            parameters.mode = mode
            expected = x.copy()
            peer(expected, bits, parameters)
            if mode == INIT:
                z = gfpq.range_z(x, bits)
            elif mode == UPDATE:
                z = gfpq.update(x, bits, z)
            assert z == parameters.z, (x, mode)
            assert same_bits(gfpq.quantize(x, bits, z)[0], expected), (x, mode)


# --- the formula ---------------------------------------------------------------------------


@both_widths
def test_boundaries_are_those_of_exact_arithmetic(bits: int) -> None:
    steps = STEPS[bits]
    z = -5 * steps  # so that the level of code 0 is 2^-5
    ladder = gfpq.levels(bits, z)[-TOP[bits] - 1 :]
    for code in range(steps + 1):
        above = first_above(2 * (code + z) + 1, 2 * steps)
        boundary = np.array([above], np.float32)
        assert Fraction(float(boundary[0])) == above
        assert gfpq.quantize(boundary, bits, z)[0] == ladder[code + 1]
        assert gfpq.quantize(np.nextafter(boundary, np.float32(0)), bits, z)[0] == ladder[code]


@untimed
@given(widths_and_z())
def test_zero_boundaries_are_those_of_exact_arithmetic(case: tuple[int, int]) -> None:
    bits, z = case
    steps = STEPS[bits]
    for sign, start in ((1, z), (-1, z + 1)):
        first = np.array([first_above(start - steps, steps)], np.float32)
        smallest = gfpq.levels(bits, z)[TOP[bits] + sign]
        assert gfpq.quantize(sign * first, bits, z)[0] == smallest
        assert gfpq.quantize(sign * np.nextafter(first, np.float32(0)), bits, z)[0] == 0


@untimed
@given(widths_and_z())
def test_levels_are_the_formula_s(case: tuple[int, int]) -> None:
    bits, z = case
    steps, top = STEPS[bits], TOP[bits]
    found = gfpq.levels(bits, z)
    positive = [2.0 ** ((k + z) / steps) for k in range(top + 1)]
    assert same_bits(found, np.array([*(-v for v in positive[:0:-1]), 0, *positive], np.float32))
    assert np.all(np.diff(found) > 0)


def test_levels_of_pictures_on_the_chip() -> None:
    assert gfpq.levels(8, 0).max() == pytest.approx(245.146, abs=1e-3)
    assert gfpq.levels(16, -384)[1408] == 0.125
    assert (len(gfpq.levels(8, 0)), len(gfpq.levels(16, 0))) == (256, 2816)


@untimed
@given(arrays, widths)
def test_quantising_again_changes_nothing(x: Floats, bits: int) -> None:
    y, z = gfpq.quantize(x, bits)
    again, _ = gfpq.quantize(y, bits, z)
    assert same_bits(again, y)
    assert y.shape == x.shape
    assert np.isin(y, gfpq.levels(bits, z)).all()


@untimed
@given(arrays, widths_and_z())
def test_larger_values_never_become_smaller(x: Floats, case: tuple[int, int]) -> None:
    bits, z = case
    y, _ = gfpq.quantize(np.sort(x, axis=None), bits, z)
    assert np.all(np.diff(y) >= 0)


@untimed
@given(arrays, widths_and_z())
def test_signs_differ_in_the_smallest_level_alone(x: Floats, case: tuple[int, int]) -> None:
    bits, z = case
    positive, _ = gfpq.quantize(np.abs(x), bits, z)
    negative, _ = gfpq.quantize(-np.abs(x), bits, z)
    _, _, second = gfpq.levels(bits, z)[TOP[bits] : TOP[bits] + 3]
    large = positive >= second
    assert np.array_equal(negative[large], -positive[large])
    assert np.isin(negative[~large], [0, -second]).all()


@untimed
@given(arrays, widths)
def test_relative_error_is_half_a_step(x: Floats, bits: int) -> None:
    y, z = gfpq.quantize(x, bits)
    smallest, largest = np.abs(gfpq.levels(bits, z)[[TOP[bits] - 1, -1]])
    inside = (np.abs(x) >= smallest) & (np.abs(x) <= largest)
    error = np.abs(np.log2(y[inside].astype(np.float64) / x[inside]))
    assert np.all(error <= 0.5 / STEPS[bits] + 1e-7)
    over = np.abs(x) > largest
    assert np.all(np.abs(y[over]) == largest)


@untimed
@given(arrays, widths_and_z())
def test_update_keeps_the_larger_range(x: Floats, case: tuple[int, int]) -> None:
    bits, z = case
    updated = gfpq.update(x, bits, z)
    assert updated >= z
    assert updated == max(z, gfpq.quantize(x, bits)[1])
    assert gfpq.update(x, bits, updated) == updated


@untimed
@given(arrays, widths)
def test_range_covers_the_data(x: Floats, bits: int) -> None:
    z = gfpq.range_z(x, bits)
    assert z == gfpq.quantize(x, bits)[1]
    largest = float(np.abs(x).max()) or 1e-6
    if -Z_LIMIT[bits] < z < Z_LIMIT[bits]:
        exact = STEPS[bits] * math.log2(largest) - TOP[bits]
        assert z - 1e-9 <= exact < z + 1 + 1e-9


# --- edges and errors ----------------------------------------------------------------------


@both_widths
def test_what_is_no_number(bits: int) -> None:
    x = np.array([np.nan, 1, -0.0, np.inf, -np.inf], np.float32)
    y, z = gfpq.quantize(x, bits, -10)
    found = gfpq.levels(bits, -10)
    first, second = found[TOP[bits] + 1], -found[TOP[bits] - 1]
    assert same_bits(y, np.array([0, y[1], 0, first, -second], np.float32))
    assert z == -10
    assert gfpq.range_z(x, bits) == Z_LIMIT[bits]
    assert gfpq.range_z([np.nan, 3], bits) == gfpq.range_z([3], bits)


@both_widths
def test_empty_and_scalar_and_unusual_arrays(bits: int) -> None:
    y, z = gfpq.quantize(np.zeros((0, 3), np.float32), bits)
    assert y.shape == (0, 3)
    assert z == gfpq.range_z([0.0], bits) == gfpq.range_z([1e-6], bits)
    scalar, _ = gfpq.quantize(2.0, bits)
    assert scalar.shape == ()
    x = np.arange(-60, 60, dtype=np.float32).reshape(10, 12)
    expected, z = gfpq.quantize(x, bits)
    frozen = x.copy()
    frozen.flags.writeable = False
    for other in (frozen, x.astype(np.int64), x.astype(">f4"), x.astype(np.float64), x.tolist()):
        assert same_bits(gfpq.quantize(other, bits)[0], expected)
    assert same_bits(gfpq.quantize(x.T[::-1], bits)[0], np.ascontiguousarray(expected.T[::-1]))
    shifted = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    assert same_bits(gfpq.quantize(shifted, bits)[0], expected)


@pytest.mark.parametrize("bits", [0, 1, 7, 12, 32, None, "8"])
def test_other_widths_are_refused(bits: int) -> None:
    x = np.ones(3, np.float32)
    for call in (
        lambda: gfpq.quantize(x, bits),
        lambda: gfpq.quantize(x, bits, 0),
        lambda: gfpq.quantize_into(x, bits, 0, x),
        lambda: gfpq.range_z(x, bits),
        lambda: gfpq.update(x, bits, 0),
        lambda: gfpq.quantize_channels(x[:0], bits),
        lambda: gfpq.quantize_weights(x, bits, per_channel=False),
        lambda: gfpq.levels(bits, 0),
    ):
        with pytest.raises(InputError, match="use 8 or 16"):
            call()


def test_wrong_arguments_are_refused() -> None:
    x = np.ones((3, 2), np.float32)
    for z in (512, -512):
        with pytest.raises(InputError, match=re.escape(f"z is {z}, outside -511..511")):
            gfpq.quantize(x, 8, z)
        with pytest.raises(InputError, match="outside"):
            gfpq.update(x, 8, z)
        gfpq.quantize(x, 16, z)
    with pytest.raises(InputError, match="found an array of complex64"):
        gfpq.quantize(x.astype(np.complex64), 8)
    with pytest.raises(InputError, match="real numbers"):
        gfpq.range_z(np.array(["1"]), 8)
    frozen = x.copy()
    frozen.flags.writeable = False
    wrong = [(x.T, x), (x.astype(np.float64), x), (x, x[:2]), (x, np.ones((2, 3), "f"))]
    for given_x, out in [*wrong, (x, frozen), (x, x.T)]:
        with pytest.raises(InputError, match="has to be"):
            gfpq.quantize_into(given_x, 8, 0, out)
    with pytest.raises(InputError, match="first axis"):
        gfpq.quantize_channels(np.float32(1), 8)


# --- into, threads, processes ---------------------------------------------------------------


@both_widths
def test_large_arrays_are_the_sum_of_their_parts(bits: int) -> None:
    x = np.random.default_rng(0).standard_normal(1_234_567, np.float32) * 50
    x[-1], x[700_001] = 1e3, np.nan
    whole, z = gfpq.quantize(x, bits)
    assert z == gfpq.range_z(x[-1:], bits)
    parts = [gfpq.quantize(x[i : i + 9999], bits, z)[0] for i in range(0, len(x), 9999)]
    assert same_bits(whole, np.concatenate(parts))
    out = np.full_like(x, 7)
    gfpq.quantize_into(x, bits, z, out)
    assert same_bits(out, whole)
    gfpq.quantize_into(x, bits, z, x)
    assert same_bits(x, whole)


def test_threads_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(0)
    data = [rng.standard_normal(400_000 + i, np.float32) * 2**i for i in range(8)]
    expected = [gfpq.quantize(x, 8 + 8 * (i % 2)) for i, x in enumerate(data)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = pool.map(lambda i: gfpq.quantize(data[i], 8 + 8 * (i % 2)), range(8))
            for (y, z), (y0, z0) in zip(found, expected, strict=True):
                assert z == z0
                assert same_bits(y, y0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_can_quantise() -> None:
    x = np.linspace(-1, 1, 1_000_000, dtype=np.float32)
    gfpq.quantize(x, 8)  # starts this process's threads
    child = multiprocessing.get_context("fork").Process(target=gfpq.quantize, args=(x, 8))
    child.start()
    child.join(30)
    alive = child.is_alive()
    child.kill()
    child.join()
    assert not alive
    assert child.exitcode == 0


# --- weights --------------------------------------------------------------------------------


@both_widths
def test_channels_are_quantised_one_by_one(bits: int) -> None:
    w = np.random.default_rng(0).standard_normal((5, 1, 3, 3)).astype(np.float32)
    w *= np.array([1e-3, 1, 30, 0, 1e4], np.float32).reshape(5, 1, 1, 1)
    y, z = gfpq.quantize_channels(w, bits)
    assert z.shape == (5,)
    for channel in range(5):
        expected, expected_z = gfpq.quantize(w[channel], bits)
        assert z[channel] == expected_z
        assert same_bits(y[channel], expected)
    weights, weights_z = gfpq.quantize_weights(w, bits, per_channel=True)
    assert same_bits(weights, y)
    assert np.array_equal(weights_z, z)
    together, one_z = gfpq.quantize_weights(w, bits, per_channel=False)
    assert one_z == gfpq.range_z(w, bits)
    assert same_bits(together, gfpq.quantize(w, bits)[0])


@both_widths
def test_equal_weights_are_exact(bits: int) -> None:
    a = np.float32(0.3)
    assert a not in gfpq.quantize([a], bits)[0]
    w = np.array([a, -a, a, -a], np.float32).reshape(2, 1, 1, 2)
    y, z = gfpq.quantize_weights(w, bits, per_channel=False)
    assert same_bits(y, w)
    assert z == gfpq.range_z(w, bits)
    mixed = np.concatenate([w, np.array([1, 2], np.float32).reshape(1, 1, 1, 2)])
    y, _ = gfpq.quantize_weights(mixed, bits, per_channel=True)
    assert same_bits(y[:2], w)
    assert same_bits(y[2], gfpq.quantize(mixed[2], bits)[0])
    y, _ = gfpq.quantize_weights(mixed, bits, per_channel=False)
    assert same_bits(y, gfpq.quantize(mixed, bits)[0])


@both_widths
def test_nearly_equal_weights_become_the_first(bits: int) -> None:
    # The spread of magnitudes of channel 2 of mobilenet0_conv1 in nniefacelib's RetinaFace,
    # 7.8e-7, is stored as one value; 2.7e-6 (channel 5, merged) is not.
    dead = np.array([-4e-7, 7.9e-7, -1e-8], np.float32)
    y, _ = gfpq.quantize_weights(dead, bits, per_channel=False)
    assert same_bits(y, np.array([-4e-7, 4e-7, -4e-7], np.float32))
    alive = np.array([4e-8, 2.77e-6, -1e-6], np.float32)
    y, _ = gfpq.quantize_weights(alive, bits, per_channel=False)
    assert same_bits(y, gfpq.quantize(alive, bits)[0])
    zeros, z = gfpq.quantize_weights(np.zeros((2, 3), np.float32), bits, per_channel=False)
    assert not zeros.any()
    assert z == gfpq.range_z([0.0], bits)


# --- the 20.12 fixed point -------------------------------------------------------------------


@untimed
@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 20),
        elements=floats(-2, 2) | floats(-1e6, 1e6) | st.integers(-99, 99).map(lambda i: i / 8192),
    )
)
def test_fixed_point_rounds_halves_up(x: Floats) -> None:
    y = gfpq.round_q20_12(x)
    for value, rounded in zip(x.tolist(), y.tolist(), strict=True):
        word = math.floor(Fraction(value) * 4096 + Fraction(1, 2))
        assert Fraction(rounded) * 4096 == min(max(word, -(2**31)), 2**31 - 128)
    again = gfpq.round_q20_12(x, x)
    assert again is x
    assert same_bits(x, y)


def test_fixed_point_saturates() -> None:
    x = np.array([np.inf, -np.inf, 3e38, -3e38, np.nan, -0.0], np.float32)
    y = gfpq.round_q20_12(x)
    words = y[:4].astype(np.float64) * 4096
    assert words.tolist() == [2**31 - 128, -(2**31), 2**31 - 128, -(2**31)]
    assert np.isnan(y[4])
    assert same_bits(y[5:], np.zeros(1, np.float32))
    with pytest.raises(InputError, match="shape"):
        gfpq.round_q20_12(x, y[:2])
