"""Partners by size and order, where one dump's layers have numbers only.

Tried in this order, the first that takes every file wins:

1. as many files as the network has outputs: its outputs, the k-th of a size the k-th of it;
2. as many files as there are values, every state of an in-place blob counted: one to one;
3. the longest common order of last states, or of all values where that takes more files.

Files that fit no blob by size stay in their place where the counts of 1 or 2 say so: a broken
file is shown as a blob of another shape. A dump in no order (mapper_quant, the vendor's script)
has only sizes to go by: pairs are those that cannot be others.
"""

from __future__ import annotations

from collections.abc import Sequence

from nnie_pipeline.compare.dumps import Dump, DumpedBlob
from nnie_pipeline.compare.layout import bare, counts

Pairs = list[tuple[DumpedBlob, DumpedBlob]]
"""(blob with a name, blob with a number)."""


def by_size(first: Dump, second: Dump) -> tuple[dict[str, DumpedBlob], list[str]]:
    """The partner of each file of `first`, and remarks; one of the two has numbers only."""
    named, numbered = (first, second) if first.named else (second, first)
    if named.ordered:
        pairs, sure = _paired(named, numbered.blobs)
    else:
        pairs, sure = _single(named, numbered), True
    fitting = sum(fits(a, b) for a, b in pairs)
    way = "size and order" if named.ordered else "size"
    note = (
        f"{numbered.folder.name} has layer numbers only: {fitting} of {len(numbered.blobs)} "
        f"blobs are matched by {way}"
    )
    if not sure:
        note += "; several of one size could be exchanged: give cnn_net_tree.dot with --dot"
    elif not named.ordered and fitting < len(numbered.blobs):
        note += (
            f", for several blobs of one size {named.folder.name} tells no order: give "
            "cnn_net_tree.dot with --dot"
        )
    by_file = {(a if named is first else b).file: (b if named is first else a) for a, b in pairs}
    return by_file, [note]


def _paired(named: Dump, blobs: Sequence[DumpedBlob]) -> tuple[Pairs, bool]:
    every = [x for x in named.blobs if x.role == "output"]
    last = [x for x in every if x.value == x.blob] if named.states == "own" else every
    outputs = [x for x in last if x.value in named.outputs]
    outputs.sort(key=lambda x: named.outputs.index(x.value))
    whole = [_of_outputs(outputs, blobs)] if len(outputs) == len(blobs) else []
    whole += [list(zip(every, blobs, strict=True))] if len(every) == len(blobs) else []
    for pairs in whole:
        if _fitting(pairs) == len(blobs):
            return pairs, True
    aligned, sure = _aligned(last, blobs)
    if len(aligned) < len(blobs) and len(every) > len(last):
        more, certain = _aligned(every, blobs)
        if len(more) > len(aligned):
            aligned, sure = more, certain
    for pairs in whole:
        # A broken file or two: the others are in their places all the same.
        if _fitting(pairs) >= len(aligned):
            return pairs, True
    return aligned, sure


def _fitting(pairs: Pairs) -> int:
    return sum(fits(a, b) for a, b in pairs)


def _of_outputs(outputs: Sequence[DumpedBlob], blobs: Sequence[DumpedBlob]) -> Pairs:
    """The network's outputs and a dump of as many: the k-th of a size is the k-th of it.

    What fits nothing is paired with what is left, in order.
    """
    left = list(outputs)
    partners: dict[str, DumpedBlob] = {}
    for blob in blobs:
        partner = next((x for x in left if fits(x, blob)), None)
        if partner is not None:
            left.remove(partner)
            partners[blob.file] = partner
    return [(partners.get(x.file) or left.pop(0), x) for x in blobs]


def _single(named: Dump, numbered: Dump) -> Pairs:
    """Pairs that fit each other and nothing else."""
    blobs = [x for x in named.blobs if x.role == "output"]
    found: Pairs = []
    for file in numbered.blobs:
        partners = [x for x in blobs if fits(x, file)]
        if len(partners) == 1 and sum(fits(partners[0], x) for x in numbered.blobs) == 1:
            found.append((partners[0], file))
    return found


def _aligned(named: Sequence[DumpedBlob], blobs: Sequence[DumpedBlob]) -> tuple[Pairs, bool]:
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
