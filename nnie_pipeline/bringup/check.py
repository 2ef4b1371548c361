"""Compare what a board wrote with the golden outputs beside this file.

    python3 check.py PULLED                    PULLED/PICTURE/seg0_layer38_output0_inst.linear.hex
    python3 check.py PULLED --picture NAME     the files of one picture lie in PULLED itself
    python3 check.py PULLED --bits 8           compiled with compile_mode 0 (default: the nearer)
    python3 check.py PULLED --map FILE         lines "38 0": layer 38 is output 0 (or its name)
    python3 check.py PULLED --dot cnn_net_tree.dot

Needs Python 3.6 or newer and nothing else. Ends with 0 when the board computes what the
simulation computes, with 1 when it does not, with 2 when nothing contradicts but something is not
proven: files are missing or damaged, an output is blurred by the number format on every picture,
or the order of channels and means cannot be told.
"""

import argparse
import array
import json
import math
import operator
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

FACTOR = 4096.0
LARGEST_TEXT = 64 << 20
MOST_ENTRIES = 10000
MOST_WORDS = 1 << 26
LONGEST_LINE = 12
WORD = re.compile(rb"[0-9a-fA-F]{8}")
ALIGNMENTS = (4, 16, 32, 256)
NODE_NAME = 31
EXPECTED = "expected"
FLOAT = "float"
OK, FAIL, UNPROVEN = "ok  ", "FAIL", "?   "
# Independent words of the same length lie 1.41 of it apart, other pictures' outputs often 0.7.
WIDEST = 0.7
# Measured on three networks whose layers' z were moved at random by up to 24 steps of 8 bits (an
# octave and a half): the right reading always came first, with a doubt of 0.33 at most.
CLEAR = 0.35
# Measured on four networks: boards with other z lie within the limits, and at most 1.1 times the
# way to the next reading, from theirs; most rolled, scaled or random words above one or twice that.
NEAR = 2.0
FILE = re.compile(
    r"seg(\d{1,4})_layer(\d{1,9})_output(\d{1,4})_(?:inst|func|board)\.linear\.hex", re.ASCII
)
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
DOT_LABEL = re.compile(r'label\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;\]]+))')
DOT_NAME_END = re.compile(r"\\[nlr]|[\n|{}<>]|\bnet\b|\s")
DOT_LINE = 10000

READINGS = {
    "swapped": "the network gets the first and the last channel exchanged: turn [RGB_order] over "
    "in the cfg file and compile again, or feed the planes in the other order",
    "means-reversed": "the means reach the wrong channels: turn the lines of mean.txt around and "
    "compile again",
    "both": "channels and means are exchanged: turn the lines of mean.txt and [RGB_order] over "
    "and compile again",
    "u-first": "the network gets U and V exchanged: feed V before U",
    **{
        matrix + "-" + span: "the chip turns YUV back by " + matrix + ", " + span + " range: feed "
        "such YUV, and run nnie run again with --yuv " + matrix + " --range " + span
        for matrix in ("bt601", "bt709")
        for span in ("full", "limited")
    },
}


class UnfitError(Exception):
    """What keeps the comparison from being made, in one line."""


class Distance(NamedTuple):
    """How far a board's output lies from a golden one: Euclidean, of the board, the cosine."""

    length: float
    norm: float
    cosine: float


class View(NamedTuple):
    """What a run says of the coloured picture: the best reading, the doubt in it, the square of how
    far it is and whether that is near, and the picture that is nearer still.
    """

    run: str
    best: str
    doubt: float
    far: float
    near: bool
    picture: str

    @property
    def sure(self) -> bool:
        """Whether the reading is beyond doubt."""
        return self.near and not self.picture and self.doubt <= CLEAR

    @property
    def said(self) -> str:
        """The reading and the doubt in words."""
        return f"by {spoken(self.run)} {self.best}, doubt {self.doubt:.2f} of 0.50"


class Loaded(NamedTuple):
    """The words of an output, and a remark on the file."""

    words: "array.array[int]"
    note: str


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run the comparison; the exit status."""
    parser = argparse.ArgumentParser(description="Compare a board's outputs with the golden ones.")
    parser.add_argument("pulled", help="folder with one folder a picture, or one picture's files")
    parser.add_argument("--picture", help="the picture, where its files lie in PULLED itself")
    parser.add_argument("--bits", choices=("8", "16"), help="what the .wk was compiled for")
    names = parser.add_mutually_exclusive_group()
    names.add_argument("--map", help='a file of lines "LAYER OUTPUT"')
    names.add_argument("--dot", help="cnn_net_tree.dot of the mapper")
    options = parser.parse_args(arguments)
    try:
        kit = read_kit(os.path.dirname(os.path.abspath(__file__)))
        return compare(kit, options)
    except UnfitError as problem:
        print(f"check: {printable(str(problem))}", file=sys.stderr)
        return 2


def compare(kit: "dict[str, Any]", options: argparse.Namespace) -> int:
    """Compare all pictures that were pulled and print a line for each output."""
    folders = pulled_folders(kit, options.pulled, options.picture)
    layers = read_map(options.map, kit["outputs"]) if options.map else None
    if options.dot:
        layers = read_dot(options.dot, kit["outputs"])
    alone = folders[0][1] == options.pulled
    loaded, absent = {}, [] if alone else missing(kit, options.pulled, folders)
    for picture, folder in folders:
        try:
            loaded[picture] = load_outputs(folder, kit["outputs"], layers)
        except UnfitError as problem:
            absent.append(str(problem))
    for line in absent:
        print(f"check: {printable(line)}", file=sys.stderr)
    if not loaded:
        return 2
    if alone:
        print(f"of the kit's {len(kit['pictures'])} pictures only {folders[0][0]} is compared")
    counts = [x["count"] for x in kit["outputs"]]
    equal = [x["name"] for x in kit["outputs"] if counts.count(x["count"]) > 1]
    if equal and layers is None:
        print(
            f"outputs of one size are told apart by ascending layer number: "
            f"{printable(', '.join(equal))}; --map or --dot makes it sure"
        )
    run = options.bits + "bit" if options.bits else nearest_run(kit, loaded)
    print(f"compared with the {spoken(run)} network{'' if options.bits else ', the nearer one'}")
    probe = kit["readings"].get("picture")
    found: list[list[str]] = [[] for _ in counts]
    order = OK if probe is None else UNPROVEN
    for picture, words in loaded.items():
        for number, output in enumerate(kit["outputs"]):
            found[number].append(one_output(kit, picture, run, number, output, words))
        if picture == probe:
            order = reading(kit, run, words)
    unsure = []
    blurred = [x["name"] for x, states in zip(kit["outputs"], found) if OK not in states]  # noqa: B905 - strict needs Python 3.10
    if blurred:
        names = printable(", ".join(blurred))
        unsure.append(f"{names} cannot be compared at {spoken(run)} on any picture")
    said = "the order of channels and means is not proven"
    remark = ""
    if order == UNPROVEN and alone and probe not in loaded:
        remark = f"; {said} by this picture"
    elif order == UNPROVEN:
        unsure.append(said)
    if unsure and run != "16bit":
        unsure.append("compile for 16 bit and run again")
    gaps = (["files are missing or damaged, see above"] if absent else []) + unsure
    return verdict([x for states in found for x in states], order, run, gaps, remark)


def verdict(states: "list[str]", order: str, run: str, gaps: "list[str]", remark: str) -> int:
    """Print the last line; the exit status."""
    failed = [*states, order].count(FAIL)
    if failed:
        print(
            f"verdict: {failed} comparisons failed: the board does not compute what the simulation "
            "computes; CHECKLIST.en.md and CHECKLIST.zh-CN.md name the usual causes"
        )
        return 1
    agreeing, unproven = states.count(OK), states.count(UNPROVEN)
    if gaps:
        said = f"the {agreeing} outputs that could be compared agree, but " if agreeing else ""
        print(f"verdict: not complete: {said}{'; '.join(gaps)}")
        return 2
    said = f"all {agreeing} outputs agree"
    if unproven:
        said = f"{agreeing} outputs agree, {unproven} cannot be compared at {spoken(run)}"
    print(f"verdict: {said}: the board computes what the simulation does{remark}")
    return 0


def missing(kit: "dict[str, Any]", pulled: str, folders: "list[tuple[str, str]]") -> "list[str]":
    """A line for every picture of the kit that was not pulled."""
    lines = []
    for picture in kit["pictures"]:
        name = picture["name"]
        if name not in dict(folders):
            what = f"{os.path.join(pulled, name)} is missing: run run_on_board.sh and pull it again"
            if name == kit["readings"].get("picture"):
                what += "; without it the order of channels and means is not proven"
            lines.append(what)
    return lines


def one_output(
    kit: "dict[str, Any]",
    picture: str,
    run: str,
    number: int,
    output: "dict[str, Any]",
    loaded: "list[Loaded]",
) -> str:
    """Print how one output fits: OK, FAIL, or UNPROVEN where unlike outputs would fit as well."""
    words = loaded[number].words
    entry = kit["limits"][picture][run][number]
    limit = entry["limit"]
    golden = golden_words(kit, picture, run, number)
    found = distance(words, golden)
    good = found.length <= limit and (len(set(words)) > 1 or len(set(golden)) == 1)
    state = OK if good else FAIL
    norm = entry["norm"] or 1.0
    if words == golden:
        said = "equal word for word"
    else:
        said = (
            f"distance {found.length / norm:.5f} (limit {limit / norm:.5f}), "
            f"cosine {found.cosine:.6f}"
        )
    if good and is_blurred(entry) and (words != golden or entry["norm"] == 0 < entry["noise"]):
        state = UNPROVEN
        said += f"; cannot be compared, because {spoken(run)} blurs this output on this picture"
    if not good:
        said += f"; {cause(kit, picture, run, number, words)}"
    if loaded[number].note:
        said += f"; {loaded[number].note}"
    print(f"{state} {picture} output {number} {printable(output['name'])}: {said}")
    return state


def fits(
    kit: "dict[str, Any]", picture: str, run: str, number: int, words: "array.array[int]"
) -> bool:
    """Whether words are an output of a picture, and not as far from it as unlike ones."""
    entry = kit["limits"][picture][run][number]
    near: float = min(entry["limit"], WIDEST * entry["norm"])
    return distance(words, golden_words(kit, picture, run, number)).length <= near


def is_blurred(entry: "dict[str, float]") -> bool:
    """Whether the number format moves an output as far as unlike outputs lie apart."""
    return entry["limit"] >= WIDEST * entry["norm"]


def cause(
    kit: "dict[str, Any]",
    picture: str,
    run: str,
    number: int,
    words: "array.array[int]",
) -> str:
    """What a board's output looks like, where it fits no golden one."""
    if not any(words):
        return (
            "all zero: Forward did not run or did not end, or the cache was not flushed before "
            "reading"
        )
    if len(set(words)) == 1:
        return "one value everywhere: the input did not reach the network (cache, address, file)"
    for other in range(len(kit["outputs"])):
        same_size = other != number and kit["outputs"][other]["count"] == len(words)
        if same_size and fits(kit, picture, run, other, words):
            return f"it is output {other}: give --map or --dot"
    for entry in kit["pictures"]:
        name = entry["name"]
        if name != picture and fits(kit, name, run, number, words):
            return f"it is what picture {name} gives"
    turned = words[:]
    turned.byteswap()
    if fits(kit, picture, run, number, turned):
        return "its bytes are in the other order: write the words as %08x of int32"
    return "input (planes B,G,R without padding, stride), normalisation (none on the CPU) or cache"


def reading(kit: "dict[str, Any]", run: str, loaded: "list[Loaded]") -> str:
    """Say by the coloured picture how the board reads channels and means: OK, FAIL or UNPROVEN.

    The nearer of simulation and float decides; where it leaves a doubt, the other has to name the
    same reading without one.
    """
    one, other = sorted((view(kit, run, x, loaded) for x in (run, FLOAT)), key=lambda x: x.far)
    if not one.near:
        why = "the coloured picture's outputs are far from those of every reading"
    elif one.picture:
        why = f"the coloured picture's outputs are nearer to those of picture {one.picture}"
    elif not (one.sure or (other.sure and other.best == one.best)):
        why = f"{one.said}; {other.said}"
        if other.sure and other.best != EXPECTED:
            why += f"; if so: {READINGS.get(other.best, other.best)}"
    elif one.best == EXPECTED:
        print(f"ok   channels and means are read as the cfg files want ({one.said})")
        return OK
    else:
        print(f"FAIL {READINGS.get(one.best, one.best)} ({one.said})")
        return FAIL
    print(f"{UNPROVEN} how channels and means are read cannot be told: {why}")
    return UNPROVEN


def view(kit: "dict[str, Any]", run: str, seen: str, loaded: "list[Loaded]") -> View:
    """Which reading of the coloured picture the outputs of a board of `run` fit best in run `seen`.

    The doubt is where on the way from it to another reading the outputs lie, seen from the side:
    at 0 they are its own, at 0.5 in the middle. Noise of the number format, which goes in all
    directions, hardly moves them along that way, although it takes them far from both ends. The
    best of several strangers can leave little doubt, too: a reading has to be near as well, by a
    limit that is half as much again as the noise, as the outputs' own limits are.
    """
    limits = kit["limits"][kit["readings"]["picture"]][run]
    norms = [x["norm"] or 1.0 for x in limits]

    def golden(folder: str, of: str = seen) -> "list[array.array[int]]":
        return [golden_words(kit, folder, of, i) for i in range(len(loaded))]

    def apart(one: "Sequence[Sequence[int]]", other: "Sequence[Sequence[int]]") -> float:
        return sum((distance(x, y).length / z) ** 2 for x, y, z in zip(one, other, norms))  # noqa: B905 - strict needs Python 3.10

    board = [x.words for x in loaded]
    readings = {x: golden(reading_folder(kit, x)) for x in (EXPECTED, *kit["readings"]["others"])}
    far = {x: apart(board, y) for x, y in readings.items()}
    best = min(far, key=lambda x: far[x])
    pictures = {x["name"]: apart(board, golden(x["name"])) for x in kit["pictures"]}
    nearest = min(pictures, key=lambda x: pictures[x])
    ways = {x: apart(readings[best], y) for x, y in readings.items() if x != best}
    doubts = [0.5 + (far[best] - far[x]) / (2 * y) if y else 0.5 for x, y in ways.items()]
    place = reading_folder(kit, best)
    noise = apart(golden(place, run), golden(place, FLOAT))
    least = sum((x["limit"] / y) ** 2 for x, y in zip(limits, norms))  # noqa: B905 - as above
    return View(
        seen,
        best,
        max(doubts, default=0.0),
        far[best],
        far[best] <= min([max(2.25 * noise, least), *(NEAR**2 * x for x in ways.values())]),
        nearest if pictures[nearest] < far[best] else "",
    )


def reading_folder(kit: "dict[str, Any]", name: str) -> str:
    """The golden folder of a reading of the coloured picture."""
    picture = str(kit["readings"]["picture"])
    return picture if name == EXPECTED else f"{picture}.{name}"


def nearest_run(kit: "dict[str, Any]", loaded: "dict[str, list[Loaded]]") -> str:
    """The simulated run that the outputs of all pictures fit best."""
    totals: dict[str, float] = {}
    for run in kit["runs"]:
        totals[run] = 0.0
        for picture, outputs in loaded.items():
            for number, output in enumerate(outputs):
                golden = golden_words(kit, picture, run, number)
                norm = kit["limits"][picture][run][number]["norm"] or 1.0
                totals[run] += (distance(output.words, golden).length / norm) ** 2
    return min(totals, key=lambda x: totals[x])


def distance(words: "Sequence[int]", golden: "Sequence[int]") -> Distance:
    """Of two outputs of one count."""
    moved = sum(x * x for x in map(operator.sub, words, golden))
    dot = sum(map(operator.mul, words, golden))
    square = sum(map(operator.mul, words, words))
    other = sum(map(operator.mul, golden, golden))
    if square and other:
        cosine = dot / (math.sqrt(square) * math.sqrt(other))
    else:
        cosine = 1.0 if square == other else 0.0
    return Distance(math.sqrt(moved) / FACTOR, math.sqrt(square) / FACTOR, min(1.0, cosine))


def pulled_folders(
    kit: "dict[str, Any]", pulled: str, picture: "str | None"
) -> "list[tuple[str, str]]":
    """The pictures that were pulled, each with the folder of its files."""
    names = [x["name"] for x in kit["pictures"]]
    if picture is not None and picture not in names:
        raise UnfitError(f"--picture {picture} is not in the kit; it has {', '.join(names)}")
    own = any(FILE.fullmatch(x) for x in entries(pulled))
    if own or picture is not None:
        name = picture or os.path.basename(os.path.abspath(pulled))
        if name not in names:
            raise UnfitError(
                f"{pulled} holds the files of one picture; say which with --picture: "
                f"{', '.join(names)}"
            )
        return [(name, pulled)]
    found = [(x, os.path.join(pulled, x)) for x in names if os.path.isdir(os.path.join(pulled, x))]
    if not found:
        holds = ", ".join(sorted(entries(pulled))[:5]) or "nothing"
        raise UnfitError(
            f"{pulled} holds {holds}; expected a folder for each of {', '.join(names)}, or the "
            "files seg*_layer*_output*.linear.hex of one"
        )
    return found


def entries(folder: str) -> "list[str]":
    """The names in a folder."""
    names = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                names.append(entry.name)
                if len(names) > MOST_ENTRIES:
                    raise UnfitError(f"{folder} holds more than {MOST_ENTRIES} files")
    except OSError as error:
        raise UnfitError(f"cannot read {folder}: {error.strerror}") from error
    return names


def load_outputs(
    folder: str, outputs: "list[dict[str, Any]]", layers: "dict[int, int] | None"
) -> "list[Loaded]":
    """The words of every output, its file found by number and size, or by `layers`."""
    present = entries(folder)
    matches = [x for x in map(FILE.fullmatch, present) if x]
    matches.sort(key=lambda x: (int(x[1]), int(x[2]), int(x[3]), x[0]))
    if not matches:
        raise UnfitError(f"{folder} holds no seg*_layer*_output*.linear.hex")
    if layers is None and len(matches) != len(outputs):
        strange = [x for x in present if x.endswith(".hex") and not FILE.fullmatch(x)]
        said = f", and files of other names ({', '.join(sorted(strange)[:3])})" if strange else ""
        more = "; those of an earlier run too?" if len(matches) > len(outputs) else ""
        raise UnfitError(
            f"{folder} holds {len(matches)} files of outputs{said}, the network has "
            f"{len(outputs)}{more}: empty the folder and pull all again, or give --map or --dot"
        )
    largest = LONGEST_LINE * max(padded_count(x, ALIGNMENTS[-1]) for x in outputs)
    texts = {
        x[0]: read_words(os.path.join(folder, x[0]), largest)
        for x in matches
        if layers is None or int(x[2]) in layers
    }
    chosen = by_map(folder, outputs, texts, layers) if layers else by_size(folder, outputs, texts)
    absent = [x["name"] for i, x in enumerate(outputs) if i not in chosen]
    if absent:
        raise UnfitError(f"{folder} holds no file of {', '.join(absent)}")
    return [chosen[i] for i in range(len(outputs))]


def by_map(
    folder: str,
    outputs: "list[dict[str, Any]]",
    texts: "dict[str, array.array[int]]",
    layers: "dict[int, int]",
) -> "dict[int, Loaded]":
    """The file of each output whose layer number is known."""
    chosen: dict[int, Loaded] = {}
    for name, words in texts.items():
        number = layers[int(FILE.sub(r"\2", name))]
        output = outputs[number]
        fitting = [x for x in ALIGNMENTS if len(words) == padded_count(output, x)]
        if number in chosen or not fitting:
            raise UnfitError(
                f"{os.path.join(folder, name)} holds {len(words)} words; output {number} "
                f"({output['name']}) has {output['count']}"
                f"{' and another file already' if number in chosen else ''}"
            )
        chosen[number] = unpadded(words, output, fitting[0])
    return chosen


def by_size(
    folder: str, outputs: "list[dict[str, Any]]", texts: "dict[str, array.array[int]]"
) -> "dict[int, Loaded]":
    """The k-th file of a size is the k-th output of that size."""
    # A padded small output can be as long as a large one: one alignment has to fit all files.
    for alignment in ALIGNMENTS:
        left = list(range(len(outputs)))
        chosen: dict[int, Loaded] = {}
        for words in texts.values():
            found = (x for x in left if len(words) == padded_count(outputs[x], alignment))
            number = next(found, None)
            if number is not None:
                left.remove(number)
                chosen[number] = unpadded(words, outputs[number], alignment)
        if not left:
            return chosen
    counts = ", ".join(str(x["count"]) for x in outputs)
    known = {padded_count(x, y) for x in outputs for y in ALIGNMENTS}
    for name, words in texts.items():
        if len(words) not in known:
            path = os.path.join(folder, name)
            raise UnfitError(f"{path} holds {len(words)} words; the outputs have {counts}")
    sizes = ", ".join(str(len(x)) for x in texts.values())
    raise UnfitError(f"{folder} holds files of {sizes} words; the outputs have {counts}")


def unpadded(words: "array.array[int]", output: "dict[str, Any]", alignment: int) -> Loaded:
    """The words of an output without the padding of its rows."""
    width = output["width"]
    row = padded(width, alignment)
    if row == width:
        return Loaded(words, "")
    kept: array.array[int] = array.array("i")
    for start in range(0, len(words), row):
        kept.extend(words[start : start + width])
    return Loaded(kept, f"its rows are padded to {alignment} bytes")


def padded_count(output: "dict[str, Any]", alignment: int) -> int:
    """How many words a file of the output holds, rows aligned to so many bytes."""
    count: int = output["count"] // output["width"] * padded(output["width"], alignment)
    return count


def padded(width: int, alignment: int) -> int:
    """Words from one row of `width` words to the next, rows aligned to so many bytes."""
    return -(-width * 4 // alignment) * alignment // 4


def read_words(path: str, largest: int) -> "array.array[int]":
    """The int32 words of a file of the SDK's sample."""
    data = read(path, largest)
    tokens = data.split()
    if not tokens:
        raise UnfitError(f"{path} is empty")
    wrong = next((i for i, x in enumerate(tokens) if not WORD.fullmatch(x)), None)
    if wrong is not None:
        cut = wrong > 0 and wrong == len(tokens) - 1 and len(tokens[wrong]) < 8
        said = tokens[wrong][:20].decode("ascii", "replace")
        raise UnfitError(
            f'{path}: word {wrong + 1} of {len(tokens)} is "{said}"; expected 8 hexadecimal digits '
            f"(%08x of an int32){'; it was cut off: pull it again' if cut else ''}"
        )
    words = array.array("i", bytes.fromhex(b"".join(tokens).decode("ascii")))
    if sys.byteorder == "little":
        words.byteswap()
    return words


def read(path: str, largest: int) -> bytes:
    """A file of at most so many bytes."""
    try:
        if not os.path.isfile(path):
            raise UnfitError(f"{path} is no file")
        with open(path, "rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        raise UnfitError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > largest:
        raise UnfitError(f"{path} is larger than the {largest} bytes that it may have")
    return data


def read_kit(folder: str) -> "dict[str, Any]":
    """kit.json beside this file."""
    path = os.path.join(folder, "kit.json")
    try:
        kit: dict[str, Any] = json.loads(read(path, LARGEST_TEXT).decode("utf-8"))
        names = [x["name"] for x in kit["pictures"]]
        names += [reading_folder(kit, x) for x in kit["readings"].get("others", [])]
        whole = all(NAME.fullmatch(x) for x in (*names, *kit["runs"]))
        for output in kit["outputs"]:
            whole &= bool(FILE.fullmatch(output["file"])) and output["count"] % output["width"] == 0
            whole &= type(output["count"]) is int and 0 < output["count"] <= MOST_WORDS
            whole &= type(output["width"]) is int and type(output["name"]) is str
        for picture in kit["pictures"]:
            for run in kit["runs"]:
                found = kit["limits"][picture["name"]][run]
                whole &= len(found) == len(kit["outputs"]) > 0
                whole &= all(x[y] >= 0 for x in found for y in ("limit", "noise", "norm"))
        if not whole:
            raise ValueError
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise UnfitError(f"{path} is damaged; unpack the kit again") from error
    kit["folder"] = folder
    kit["read"] = {}
    return kit


def golden_words(kit: "dict[str, Any]", picture: str, run: str, number: int) -> "array.array[int]":
    """The golden words of an output."""
    key = (picture, run, number)
    if key not in kit["read"]:
        output = kit["outputs"][number]
        path = os.path.join(kit["folder"], "golden", run, picture, output["file"])
        words = read_words(path, LONGEST_LINE * output["count"])
        if len(words) != output["count"]:
            raise UnfitError(f"{path} is damaged; unpack the kit again")
        kit["read"][key] = words
    found: array.array[int] = kit["read"][key]
    return found


def read_map(path: str, outputs: "list[dict[str, Any]]") -> "dict[int, int]":
    """The output of each layer number, out of lines "LAYER OUTPUT"."""
    layers: dict[int, int] = {}
    for line in read(path, LARGEST_TEXT).decode("utf-8-sig", "replace").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        number = output_number(words[1], outputs) if len(words) == 2 else None
        if number is None or not re.fullmatch(r"\d{1,9}", words[0], re.ASCII):
            raise UnfitError(
                f'{path}: "{line[:80]}" is no layer number and output (its number or name)'
            )
        layer = int(words[0])
        if layer in layers or number in layers.values():
            raise UnfitError(f'{path}: "{line[:80]}" names a layer or an output a second time')
        layers[layer] = number
    if not layers:
        raise UnfitError(f'{path} holds no line "LAYER OUTPUT"')
    return layers


def read_dot(path: str, outputs: "list[dict[str, Any]]") -> "dict[int, int]":
    """The output of each layer number, by the names in cnn_net_tree.dot.

    The vendor does not describe the file; as a public walk-through reads it, the lines with
    "segment" stand in the order of the layer numbers, and a label's text up to "net" is the name.
    """
    layers = {}
    number = 0
    for line in read(path, LARGEST_TEXT).decode("utf-8-sig", "replace").splitlines():
        label = DOT_LABEL.search(line[:DOT_LINE]) if "segment" in line else None
        if label is None:
            continue
        text = label[1] if label[1] is not None else label[2]
        parts = [x for x in DOT_NAME_END.split(text.strip()) if x]
        if not parts:
            continue
        output = output_named(parts[0], outputs)
        if output is not None:
            layers[number] = output
        number += 1
    if not layers:
        raise UnfitError(f"{path} names none of the network's outputs; give --map")
    return layers


def output_number(text: str, outputs: "list[dict[str, Any]]") -> "int | None":
    """The output of this number or name."""
    if re.fullmatch(r"\d{1,4}", text, re.ASCII) and int(text) < len(outputs):
        return int(text)
    return output_named(text, outputs)


def output_named(text: str, outputs: "list[dict[str, Any]]") -> "int | None":
    """The output of this name; names as the vendor writes them count too."""
    for names in (lambda x: x, plain):
        found = [
            i
            for i, x in enumerate(outputs)
            if names(text) in {names(y) for y in (x["name"], *x["layers"])}
        ]
        if len(found) == 1:
            return found[0]
    return None


def spoken(run: str) -> str:
    """`16bit` as words."""
    return run.replace("bit", " bit")


def plain(name: str) -> str:
    """A name with _ for other signs than letters and digits, cut as in a .wk."""
    return re.sub(r"[^A-Za-z0-9]", "_", name)[:NODE_NAME]


def printable(text: str) -> str:
    """`text` without control characters, which a terminal would obey, and what it cannot show."""
    encoding = sys.stdout.encoding or "ascii"
    shown = "".join(x if x.isprintable() else "?" for x in text)
    return shown.encode(encoding, "replace").decode(encoding)


if __name__ == "__main__":
    for ending in ("SIGINT", "SIGPIPE"):
        if hasattr(signal, ending):
            signal.signal(getattr(signal, ending), signal.SIG_DFL)
    sys.exit(main())
