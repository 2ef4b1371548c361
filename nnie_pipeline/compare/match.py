"""Which blob of one dump belongs to which of another.

By name: layer, role and number of the top. Names are compared as the vendor writes them: other
signs than letters and digits as `_`, and cut to 31 characters where one side has no longer ones
(node names of a .wk). Where one side keeps only the last state of a blob that in-place layers
change, the other side's last state is its partner. Without names: by size and order (`by_size`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nnie_pipeline.compare.by_size import by_size
from nnie_pipeline.compare.dumps import Dump, DumpedBlob
from nnie_pipeline.compare.layout import same_blob

NODE_NAME = 31
"""Characters of a node name in a .wk (HiSVP API reference: 32 bytes with the terminator)."""


@dataclass(frozen=True)
class Match:
    """Pairs (left, right) in execution order, what is left over, and remarks.

    `missing` says in words which outputs of either side have no partner.
    """

    pairs: tuple[tuple[DumpedBlob, DumpedBlob], ...]
    only_left: tuple[DumpedBlob, ...]
    only_right: tuple[DumpedBlob, ...]
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def match(left: Dump, right: Dump) -> Match:
    """Pair the blobs of two dumps; the order is the left one's if it has one."""
    if not left.ordered and right.ordered:
        turned = _match(right, left)
        found = Match(
            tuple((b, a) for a, b in turned.pairs),
            turned.only_right, turned.only_left, turned.notes,
        )  # fmt: skip
    else:
        found = _match(left, right)
    pairs = list(zip(*found.pairs, strict=True)) or [(), ()]
    missing = (
        *_missing(left, pairs[0], found.only_left, right),
        *_missing(right, pairs[1], found.only_right, left),
    )
    return replace(found, missing=missing)


def _missing(
    dump: Dump, matched: Sequence[DumpedBlob], alone: Sequence[DumpedBlob], other: Dump
) -> Iterator[str]:
    """The outputs of `dump` among the blobs without a partner, in words.

    Of layers with numbers only nobody knows which are outputs: all are that stand behind the
    first one with a partner, if the other dump has names.
    """
    begun = {x.file for x in dump.blobs[_first(dump, matched) :]}
    for blob in alone:
        if blob.value in dump.outputs:
            yield f"output {blob.value} has no partner in {other.folder}"
        elif not dump.named and other.named and blob.file in begun:
            yield (
                f"{dump.folder / blob.file}, {blob.shape[0]} numbers, has no partner in "
                f"{other.folder}"
            )


def _first(dump: Dump, matched: Sequence[DumpedBlob]) -> int:
    files = {x.file for x in matched}
    return next((i for i, x in enumerate(dump.blobs) if x.file in files), len(dump.blobs))


def _match(first: Dump, second: Dump) -> Match:
    notes: list[str] = []
    if first.named == second.named:
        partners = _by_name(first, second)
    else:
        partners, notes = by_size(first, second)
    taken = {x.file for x in partners.values()}
    pairs = tuple((x, partners[x.file]) for x in first.blobs if x.file in partners)
    alone = tuple(x for x in first.blobs if x.file not in partners)
    if second.states != "own" and first.states == "own":
        chains = {x.blob for x, _ in pairs}
        alone = tuple(x for x in alone if not (x.blob in chains and x.value != x.blob))
    return Match(pairs, alone, tuple(x for x in second.blobs if x.file not in taken), tuple(notes))


def _by_name(first: Dump, second: Dump) -> dict[str, DumpedBlob]:
    """The partner of each file of `first`."""
    longest = min(max((len(x.layer) for x in y.blobs), default=0) for y in (first, second))
    cut = NODE_NAME if longest == NODE_NAME else None
    others: dict[tuple[str, str, int], DumpedBlob] = {}
    for blob in second.blobs:
        others.setdefault(_key(blob, blob.layer, cut), blob)
    partners: dict[str, DumpedBlob] = {}
    states = {first.states, second.states}
    if len(states) == 1 or states == {"last", "fused"}:
        for blob in first.blobs:
            found = others.pop(_key(blob, blob.layer, cut), None)
            if found is not None:
                partners[blob.file] = found
    elif first.states == "own":
        partners = _states(first.blobs, others, cut, second.states == "last")
    else:
        index = {_key(x, x.layer, cut): x for x in first.blobs}
        turned = _states(second.blobs, index, cut, first.states == "last")
        by_file = {x.file: x for x in second.blobs}
        partners = {blob.file: by_file[file] for file, blob in turned.items()}
    _by_blob(first, second, partners)
    return partners


def _states(
    blobs: Sequence[DumpedBlob],
    others: dict[tuple[str, str, int], DumpedBlob],
    cut: int | None,
    only_last: bool,
) -> dict[str, DumpedBlob]:
    """Partners of blobs in all their states among those of a dump that keeps fewer."""
    partners: dict[str, DumpedBlob] = {}
    chains: dict[str, list[DumpedBlob]] = {}
    for blob in blobs:
        chains.setdefault(blob.blob if blob.role == "output" else blob.file, []).append(blob)
    for chain in chains.values():
        found = [(x, others.get(_key(x, x.layer, cut))) for x in chain]
        known = [(x, y) for x, y in found if y is not None]
        if not known:
            continue
        if only_last or len(known) < len(chain):
            # A fused operation's result may stand under any of its layers; the last is it.
            partners[chain[-1].file] = known[-1][1]
        else:
            partners.update({x.file: y for x, y in known})
    return partners


def _by_blob(first: Dump, second: Dump, partners: dict[str, DumpedBlob]) -> None:
    """Pair what is left by the names of blobs: the vendor's script calls inputs so."""
    taken = {x.file for x in partners.values()}
    free = {_key(x, x.blob, None): x for x in second.blobs if x.file not in taken}
    for blob in reversed(first.blobs):
        if blob.file not in partners and blob.role == "output":
            found = free.pop(_key(blob, blob.blob, None), None)
            if found is not None and same_blob(blob.shape, found.shape):
                partners[blob.file] = found


def _key(blob: DumpedBlob, name: str, cut: int | None) -> tuple[str, str, int]:
    return blob.role, re.sub(r"[^A-Za-z0-9]", "_", name)[:cut], blob.number
