"""Names for new layers and values."""

from __future__ import annotations

from nnie_pipeline.caffe.net import Net


class FreeNames:
    """Gives names that no layer and no value of a network has."""

    def __init__(self, net: Net) -> None:
        self._used = {*(x.name for x in net.layers), *net.values()}

    def take(self, wish: str) -> str:
        """`wish`, or with the first free number behind it; it is taken from now on."""
        name, number = wish, 1
        while name in self._used:
            number += 1
            name = f"{wish}_{number}"
        self._used.add(name)
        return name
