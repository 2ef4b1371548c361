"""What a cause is: a name, and the ways in which it may have come about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.diagnose.case import Case

Values = dict[str, Array]
"""Values of a network by name."""


@dataclass(frozen=True)
class Hypothesis:
    """One way to recompute the dump; what is None is as it should be.

    `feed` gives the network's input, `net` the network, `bits` the widths. `read` says how the
    right values would look in the dump: (values, dump) to values, where NaN is what nobody
    knows. `variant` says in words what is assumed.
    """

    variant: str
    feed: Callable[[], Array] | None = None
    net: Callable[[], Net] | None = None
    bits: tuple[int, ...] | None = None
    read: Callable[[Values, Mapping[str, Array]], Values] | None = None


class UnjudgedError(Exception):
    """The case cannot tell about this cause; the message says why."""


@dataclass(frozen=True)
class Cause:
    """A mistake that users make.

    `variants` gives its hypotheses for a case, or raises `UnjudgedError`. `remedy` is what to
    do about it, `test` what separates it from another that explains the dump as well.
    """

    name: str
    title: str
    variants: Callable[[Case], Iterator[Hypothesis]]
    remedy: str
    test: str
