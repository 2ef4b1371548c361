"""Other people's programs that the tests and benchmarks compare with."""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nnie_pipeline.errors import InputError
from nnie_pipeline.zoo.fetch import obtain
from nnie_pipeline.zoo.source import Packaged

LIBGFPQ = Packaged(
    kind="pypi-wheel",
    package="nnieqat",
    version="0.1.0b0",
    member="nnieqat/gpu/lib/libgfpq.so",
    size=35288,
    sha256="302d7e4cff13c5561b4199c6fae546797e5e445c81405e135806a5e60b32dc26",
)

INIT, UPDATE, APPLY_ONLY = 0, 1, 2


class GfpqParameters(ctypes.Structure):
    """GFPQ_PARAM_ST of gfpq.hpp: what the library keeps between calls."""

    _fields_ = (("mode", ctypes.c_uint), ("buffer", ctypes.c_ubyte * 16))
    mode: int

    @property
    def z(self) -> int:
        return int.from_bytes(bytes(self)[8:12], "little", signed=True)


Quantiser = Callable[[npt.NDArray[np.float32], int, GfpqParameters], None]


@functools.cache
def libgfpq() -> Quantiser | None:
    """HiSilicon's own quantiser, or None where it cannot be had (it is for Linux x86-64).

    `libgfpq()(x, bits, parameters)` quantises the contiguous float32 array `x` in place.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    try:
        path = obtain([LIBGFPQ], "put its wheel into a folder that PIP_FIND_LINKS names")[0]
        library = ctypes.CDLL(str(path))
    except (InputError, OSError):
        return None
    function = library["_Z23HI_GFPQ_QuantAndDeQuantPfjjP14_GFPQ_PARAM_ST"]
    function.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.POINTER(GfpqParameters),
    )
    function.restype = ctypes.c_uint

    def quantise(x: npt.NDArray[np.float32], bits: int, parameters: GfpqParameters) -> None:
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        status = function(x.ctypes.data, x.size, bits, ctypes.byref(parameters))
        if status:
            raise ValueError(f"libgfpq returned {status:#x}")

    return quantise
