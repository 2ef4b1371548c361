"""Which blob of one dump belongs to which of another.

By name: layer, role and number of the top. Names are compared as the vendor writes them: other
signs than letters and digits as `_`, and cut to 31 characters where one side has no longer ones
(node names of a .wk). Where one side keeps only the last state of a blob that in-place layers
change, the other side's last state is its partner. Without names: by size and order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nnie_pipeline.compare.dumps import Dump, DumpedBlob
from nnie_pipeline.compare.layout import bare, counts, same_blob

NODE_NAME = 31
"""Characters of a node name in a .wk (HiSVP API reference: 32 bytes with the terminator)."""


@dataclass(frozen=True)
class Match:
    """Pairs (left, right) in execution order, what is left over, and remarks."""

    pairs: tuple[tuple[DumpedBlob, DumpedBlob], ...]
    only_left: tuple[DumpedBlob, ...]
    only_right: tuple[DumpedBlob, ...]
    notes: tuple[str, ...] = ()


def match(left: Dump, right: Dump) -> Match:
    """Pair the blobs of two dumps; the order is the left one's if it has one."""
    if not left.ordered and right.ordered:
        turned = _match(right, left)
        return Match(
            tuple((b, a) for a, b in turned.pairs),
            turned.only_right, turned.only_left, turned.notes,
        )  # fmt: skip
    return _match(left, right)


def _match(first: Dump, second: Dump) -> Match:
    notes: list[str] = []
    if first.named == second.named:
        partners = _by_name(first, second)
    else:
        partners, notes = _by_size(first, second)
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


def _by_size(first: Dump, second: Dump) -> tuple[dict[str, DumpedBlob], list[str]]:
    """Partners by size and order: one side's layers have numbers only."""
    named, numbered = (first, second) if first.named else (second, first)
    last = [x for x in named.blobs if x.role == "output" and x.value == x.blob]
    outputs = [x for x in last if x.value in named.outputs]
    outputs.sort(key=lambda x: named.outputs.index(x.value))
    pairs, sure = _of_outputs(outputs, numbered.blobs), True
    if pairs is None:
        pairs, sure = _aligned(last, numbered.blobs)
    note = (
        f"{numbered.folder.name} has layer numbers only: {len(pairs)} of {len(numbered.blobs)} "
        "blobs are matched by size and order"
    )
    if not sure:
        note += "; several of one size could be exchanged: give cnn_net_tree.dot with --dot"
    by_file = {(a if named is first else b).file: (b if named is first else a) for a, b in pairs}
    return by_file, [note]


def _of_outputs(
    outputs: Sequence[DumpedBlob], blobs: Sequence[DumpedBlob]
) -> list[tuple[DumpedBlob, DumpedBlob]] | None:
    """The network's outputs and a dump of as many: the k-th of a size is the k-th of it."""
    if len(outputs) != len(blobs):
        return None
    left = list(outputs)
    pairs = []
    for blob in blobs:
        partner = next((x for x in left if fits(x, blob)), None)
        if partner is None:
            return None
        left.remove(partner)
        pairs.append((partner, blob))
    return pairs


def _aligned(
    named: Sequence[DumpedBlob], blobs: Sequence[DumpedBlob]
) -> tuple[list[tuple[DumpedBlob, DumpedBlob]], bool]:
    """The longest common order (by size), and whether only one such order exists.

    Where several blobs of one size could be meant, the one further on in the network is taken.
    """
    rows, columns = len(blobs), len(named)
    equal = [[fits(x, y) for x in named] for y in blobs]
    best = [[0] * (columns + 1) for _ in range(rows + 1)]
    ways = [[1] * (columns + 1) for _ in range(rows + 1)]
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            options = [(best[i - 1][j], ways[i - 1][j]), (best[i][j - 1], ways[i][j - 1])]
            top = max(x for x, _ in options)
            count = sum(w for x, w in options if x == top)
            if options[0][0] == options[1][0] == best[i - 1][j - 1] == top:
                count -= ways[i - 1][j - 1]
            if equal[i - 1][j - 1]:
                through = best[i - 1][j - 1] + 1
                if through > top:
                    top, count = through, ways[i - 1][j - 1]
                elif through == top:
                    count += ways[i - 1][j - 1]
            best[i][j], ways[i][j] = top, count
    pairs = []
    i, j = rows, columns
    while i and j:
        if equal[i - 1][j - 1] and best[i][j] == best[i - 1][j - 1] + 1:
            pairs.append((named[j - 1], blobs[i - 1]))
            i, j = i - 1, j - 1
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            j -= 1
    return pairs[::-1], ways[rows][columns] == 1


def fits(named: DumpedBlob, numbered: DumpedBlob) -> bool:
    """Whether a file of so many numbers can hold this blob, with padded rows or without."""
    return numbered.shape[0] in counts(bare(named.shape))
