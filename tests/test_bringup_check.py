"""check.py and run_on_board.sh as they are run: processes of their own, beside the kit."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.builds import Ran, hashes

PICTURES = ("007_solvay_conference_1927", "008_astronaut", "probe")
LAYERS = [38 + 17 * x for x in range(9)]
Check = Callable[..., Ran]


@pytest.fixture
def own_kit(kit: Path, tmp_path: Path) -> Path:
    """A copy of the kit."""
    return Path(shutil.copytree(kit, tmp_path / "kit"))


def pull(
    kit: Path, folder: Path, run: str = "16bit", probe: str = "probe",
    layers: list[int] = LAYERS, end: str = "inst",
) -> Path:  # fmt: skip
    """What a board would write: golden outputs under other layer numbers."""
    for name in PICTURES:
        (folder / name).mkdir(parents=True)
        source = kit / "golden" / run / (probe if name == "probe" else name)
        for number, layer in enumerate(layers):
            shutil.copy(
                source / f"seg0_layer{number}_output0_inst.linear.hex",
                folder / name / f"seg0_layer{layer}_output0_{end}.linear.hex",
            )
    return folder


def check(kit: Path, *words: str | Path, **options: object) -> Ran:
    """`python3 -I check.py WORDS`, without the packages of this environment."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(kit / "check.py"), *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False, **options,  # type: ignore[call-overload]
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def words_of(path: Path) -> np.ndarray:
    text = path.read_text(encoding="ascii").split()
    return np.array([int(x, 16) for x in text], np.uint32).view(np.int32)


def write_words(path: Path, words: np.ndarray) -> None:
    path.write_text("".join(f"{x & 0xFFFFFFFF:08x}\n" for x in words.tolist()), encoding="ascii")


def spoil(folder: Path, picture: str, output: int, change: Callable[[np.ndarray], object]) -> None:
    """Change the words of one file that was pulled."""
    path = folder / picture / f"seg0_layer{LAYERS[output]}_output0_inst.linear.hex"
    write_words(path, np.asarray(change(words_of(path))))


@pytest.mark.parametrize("run", ["16bit", "8bit"])
def test_a_board_that_computes_the_same(kit: Path, tmp_path: Path, run: str) -> None:
    ran = check(kit, pull(kit, tmp_path / "pulled", run))
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert f"compared with the {run.replace('bit', ' bit')} network" in lines[0]
    assert sum("equal word for word" in x for x in lines) == 27
    assert any(x.startswith("ok   channels and means are read") for x in lines)
    assert lines[-1].startswith("verdict: all 27 outputs agree")


@pytest.mark.parametrize("end", ["func", "board"])
def test_other_endings_of_the_vendor(kit: Path, tmp_path: Path, end: str) -> None:
    assert check(kit, pull(kit, tmp_path / "pulled", end=end)).status == 0


def test_rounding_of_another_kind_is_within_the_limit(kit: Path, tmp_path: Path) -> None:
    """Noise as large as what 16 bit costs passes; three times as large does not."""
    about = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    pulled = pull(kit, tmp_path / "pulled")
    random = np.random.default_rng(0)
    for output in (0, 8):
        noise = about["limits"]["008_astronaut"]["16bit"][output]["noise"]

        def add(words: np.ndarray, share: float = 1.0, noise: float = noise) -> np.ndarray:
            extra = random.normal(0, 1, len(words))
            extra *= share * noise / np.linalg.norm(extra)
            return np.rint(words + 4096 * extra).astype(np.int32)

        spoil(pulled, "008_astronaut", output, add)
    ran = check(kit, pulled)
    assert ran.status == 0, ran.out
    spoil(pulled, "008_astronaut", 8, lambda x: add(x, 3.0))
    ran = check(kit, pulled)
    assert ran.status == 1
    failed = [x for x in ran.out.splitlines() if x.startswith("FAIL")]
    assert len(failed) == 1
    assert "008_astronaut output 8 landmark_head.2" in failed[0]
    assert ran.out.splitlines()[-1].startswith("verdict: 1 comparisons failed")


FAULTS: dict[str, tuple[Callable[[np.ndarray], object], str]] = {
    "zeros": (lambda x: x * 0, "all zero: Forward did not run"),
    "constant": (lambda x: x * 0 + 77, "one value everywhere"),
    "turned bytes": (lambda x: x.byteswap(), "its bytes are in the other order"),
    "sign": (lambda x: -x, "input (planes B,G,R"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_one_output_are_named(kit: Path, tmp_path: Path, fault: str) -> None:
    change, said = FAULTS[fault]
    pulled = pull(kit, tmp_path / "pulled")
    spoil(pulled, "008_astronaut", 3, change)
    ran = check(kit, pulled)
    assert ran.status == 1
    (failed,) = (x for x in ran.out.splitlines() if x.startswith("FAIL"))
    assert "008_astronaut output 3 class_head.0" in failed
    assert said in failed


def test_outputs_of_another_picture(kit: Path, tmp_path: Path) -> None:
    pulled = pull(kit, tmp_path / "pulled")
    shutil.rmtree(pulled / PICTURES[0])
    (pulled / PICTURES[1]).rename(pulled / PICTURES[0])
    ran = check(kit, pulled, "--bits", "16")
    assert ran.status == 1
    assert ran.out.count(f"it is what picture {PICTURES[1]} gives") == 9
    assert f"{pulled / PICTURES[1]} is missing: run run_on_board.sh" in ran.err


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ("swapped", "first and the last channel exchanged"),
        ("means-reversed", "the means reach the wrong channels"),
        ("both", "channels and means are exchanged"),
    ],
)
@pytest.mark.parametrize("run", ["16bit", "8bit"])
def test_the_coloured_picture_tells_readings_apart(
    kit: Path, tmp_path: Path, run: str, reading: str, said: str
) -> None:
    pulled = pull(kit, tmp_path / "pulled", run, f"probe.{reading}")
    ran = check(kit, pulled, "--bits", run.removesuffix("bit"))
    assert ran.status == 1
    assert any(x.startswith("FAIL") and said in x for x in ran.out.splitlines()), ran.out


def noisy(kit: Path, pulled: Path, run: str, share: float) -> None:
    """Add noise of any direction to the coloured picture's outputs, `share` of each one's limit."""
    about = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    random = np.random.default_rng(3)
    for number, entry in enumerate(about["limits"]["probe"][run]):

        def add(words: np.ndarray, limit: float = entry["limit"]) -> np.ndarray:
            extra = random.normal(0, 1, len(words))
            extra *= share * limit * 4096 / np.linalg.norm(extra)
            return np.rint(words + extra).astype(np.int32)

        spoil(pulled, "probe", number, add)


@pytest.mark.parametrize("reading", ["expected", "swapped", "means-reversed", "both"])
@pytest.mark.parametrize("run", ["16bit", "8bit"])
def test_noise_as_far_as_the_readings_does_not_hide_which_it_is(
    kit: Path, tmp_path: Path, run: str, reading: str
) -> None:
    """A board whose ranges are others: at 8 bit it is farther from every reading than they are
    apart.
    """
    pulled = pull(kit, tmp_path / "pulled", run, f"probe.{reading}".replace(".expected", ""))
    noisy(kit, pulled, run, 0.9)
    ran = check(kit, pulled, "--bits", run.removesuffix("bit"))
    (said,) = (x for x in ran.out.splitlines() if "channel" in x and "output" not in x)
    state = "ok   channels and means are read as the cfg" if reading == "expected" else "FAIL "
    assert said.startswith(state)
    if reading != "expected":
        words = {"swapped": "turn [RGB_order] over", "means-reversed": "the means reach the wrong"}
        assert words.get(reading, "channels and means are exchanged") in said


@pytest.mark.parametrize("reading", ["expected", "swapped", "means-reversed", "both"])
def test_a_board_more_exact_than_8_bit_is_told_by_float(
    kit: Path, tmp_path: Path, reading: str
) -> None:
    pulled = pull(kit, tmp_path / "pulled", "8bit")
    for number, layer in enumerate(LAYERS):
        name = f"probe.{reading}".replace(".expected", "")
        shutil.copy(
            kit / "golden" / "float" / name / f"seg0_layer{number}_output0_inst.linear.hex",
            pulled / "probe" / f"seg0_layer{layer}_output0_inst.linear.hex",
        )
    ran = check(kit, pulled, "--bits", "8")
    assert f"(by float {reading}, doubt 0.00 of 0.50)" in ran.out
    lines = [x for x in ran.out.splitlines() if "by float" in x]
    assert len(lines) == 1
    assert lines[0].startswith("ok  " if reading == "expected" else "FAIL")
    assert ran.status == (0 if reading == "expected" else 1)


def probe_words(kit: Path, run: str, name: str) -> list[np.ndarray]:
    """The golden words of a reading of the coloured picture."""
    folder = kit / "golden" / run / name
    return [words_of(folder / f"seg0_layer{x}_output0_inst.linear.hex") for x in range(9)]


def write_probe(kit: Path, name: str, words: list[np.ndarray]) -> None:
    """Make of these words what float says of a reading of the coloured picture."""
    for number, array in enumerate(words):
        write_words(
            kit / "golden" / "float" / name / f"seg0_layer{number}_output0_inst.linear.hex", array
        )


def test_a_doubt_is_no_clean_verdict(own_kit: Path, tmp_path: Path) -> None:
    """The board's outputs lie nearly in the middle of two readings; float says which, or not."""
    pulled = pull(own_kit, tmp_path / "pulled", "8bit")
    ends = [probe_words(own_kit, "8bit", x) for x in ("probe", "probe.swapped")]
    middle = [np.rint(0.55 * x + 0.45 * y).astype(np.int32) for x, y in zip(*ends, strict=True)]
    for layer, words in zip(LAYERS, middle, strict=True):
        write_words(pulled / "probe" / f"seg0_layer{layer}_output0_inst.linear.hex", words)
    path = own_kit / "kit.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    for entry in about["limits"]["probe"]["8bit"]:
        entry["limit"] = 0.69 * entry["norm"]
    path.write_text(json.dumps(about), encoding="utf-8")

    def verdict() -> tuple[int, str, str]:
        ran = check(own_kit, pulled, "--bits", "8")
        lines = ran.out.splitlines()
        assert not any(x.startswith("FAIL probe") for x in lines), ran.out
        return ran.status, lines[-2], lines[-1]

    for first, second in (ends, ends[::-1]):
        write_probe(own_kit, "probe", first)
        write_probe(own_kit, "probe.swapped", second)
        status, said, last = verdict()
        assert status == 2
        assert said.startswith("?    how channels and means are read cannot be told: by ")
        assert "by 8 bit expected, doubt 0.45 of 0.50" in said
        assert last == (
            "verdict: not complete: the 27 outputs that could be compared agree, but the order of "
            "channels and means is not proven; compile for 16 bit and run again"
        )
    # Farther from the board than 8 bit is, but without a doubt.
    random = np.random.default_rng(5)
    off = []
    for one, first, second in zip(middle, *ends, strict=True):
        extra = random.normal(0, 1, len(one))
        extra *= 0.6 * np.linalg.norm(first - second) / np.linalg.norm(extra)
        off.append(np.rint(one + extra).astype(np.int32))
    for name in ("probe", "probe.means-reversed", "probe.both"):
        write_probe(own_kit, name, [-x for x in ends[0]])
    write_probe(own_kit, "probe.swapped", off)
    status, said, last = verdict()
    assert status == 2
    assert "; by float swapped, doubt " in said
    assert "; if so: the network gets the first and the last channel exchanged" in said
    assert "the order of channels and means is not proven" in last
    write_probe(own_kit, "probe", off)
    write_probe(own_kit, "probe.swapped", [-x for x in ends[0]])
    status, said, _ = verdict()
    assert status == 0
    assert said.startswith("ok   channels and means are read as the cfg files want (by 8 bit expec")


STRANGERS: dict[str, Callable[[np.ndarray], object]] = {
    "random": lambda x: np.random.default_rng(0).integers(-(2**31), 2**31, len(x)),
    "small": lambda x: np.random.default_rng(0).integers(-1, 2, len(x)),
    "rolled": lambda x: np.roll(x, 1),
    "turned around": lambda x: x[::-1],
    "doubled": lambda x: 2 * x,
    "halved": lambda x: x // 2,
}


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("run", ["16bit", "8bit"])
def test_no_reading_is_named_of_what_is_none(
    kit: Path, tmp_path: Path, run: str, stranger: str
) -> None:
    pulled = pull(kit, tmp_path / "pulled", run)
    for picture in PICTURES:
        for number in range(9):
            spoil(pulled, picture, number, STRANGERS[stranger])
    ran = check(kit, pulled, "--bits", run.removesuffix("bit"))
    assert ran.status == 1
    assert "?    how channels and means are read cannot be told: " in ran.out
    for said in ("RGB_order", "mean.txt", "ok   channels"):
        assert said not in ran.out


@pytest.mark.parametrize("run", ["16bit", "8bit"])
def test_no_reading_is_named_of_another_picture(kit: Path, tmp_path: Path, run: str) -> None:
    pulled = pull(kit, tmp_path / "pulled", run)
    for old, new in (("probe", "x"), (PICTURES[0], "probe"), (PICTURES[1], PICTURES[0])):
        (pulled / old).rename(pulled / new)
    (pulled / "x").rename(pulled / PICTURES[1])
    ran = check(kit, pulled, "--bits", run.removesuffix("bit"))
    assert ran.status == 1
    assert f"it is what picture {PICTURES[0]} gives" in ran.out
    assert "?    how channels and means are read cannot be told: " in ran.out
    assert "RGB_order" not in ran.out


def test_another_picture_that_is_near_a_reading(own_kit: Path, tmp_path: Path) -> None:
    """Two pictures so alike that the other one's outputs would pass for a reading."""
    for run in ("float", "16bit", "8bit"):
        words = probe_words(own_kit, run, "probe")
        for number, array in enumerate(words):
            write_words(
                own_kit / "golden" / run / PICTURES[1]
                / f"seg0_layer{number}_output0_inst.linear.hex",
                np.rint(array * 1.01).astype(np.int32),
            )  # fmt: skip
    pulled = pull(own_kit, tmp_path / "pulled")
    assert "ok   channels and means are read" in check(own_kit, pulled).out
    shutil.rmtree(pulled / "probe")
    shutil.copytree(pulled / PICTURES[1], pulled / "probe")
    assert f"are nearer to those of picture {PICTURES[1]}" in check(own_kit, pulled).out


@pytest.mark.parametrize("alignment", [16, 32, 256])
def test_rows_with_their_padding(kit: Path, tmp_path: Path, alignment: int) -> None:
    """Programs that copy whole buffers keep it; a small padded output is as long as a large."""
    about = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    pulled = pull(kit, tmp_path / "pulled")
    for number, output in enumerate(about["outputs"]):
        width = output["shape"][-1]
        row = -(-width * 4 // alignment) * alignment // 4

        def pad(words: np.ndarray, width: int = width, row: int = row) -> np.ndarray:
            rows = np.full((len(words) // width, row), 12345, np.int32)
            rows[:, :width] = words.reshape(-1, width)
            return rows.reshape(-1)

        for name in PICTURES:
            spoil(pulled, name, number, pad)
    ran = check(kit, pulled)
    assert ran.status == 0, ran.out
    assert ran.out.count("equal word for word") == 27
    assert (f"its rows are padded to {alignment} bytes" in ran.out) == (alignment > 16)


def test_files_of_one_picture_in_one_folder(kit: Path, tmp_path: Path) -> None:
    pulled = pull(kit, tmp_path / "pulled")
    ran = check(kit, pulled / "008_astronaut")
    assert ran.status == 0
    assert ran.out.splitlines()[-1] == (
        "verdict: all 9 outputs agree: the board computes what the simulation does; the order of "
        "channels and means is not proven by this picture"
    )
    assert "not proven" not in check(kit, pulled / "probe").out
    (pulled / "008_astronaut").rename(pulled / "results")
    ran = check(kit, pulled / "results")
    assert ran.status == 2
    assert "say which with --picture: 007_solvay" in ran.err
    assert check(kit, pulled / "results", "--picture", "008_astronaut").status == 0
    assert check(kit, pulled / "results", "--picture", "probe").status == 1
    ran = check(kit, pulled, "--picture", "mona_lisa")
    assert (ran.status, ran.err.count("\n")) == (2, 1)


def test_numbers_in_another_order_need_a_map_or_a_dot_file(kit: Path, tmp_path: Path) -> None:
    """Sizes differ here, so the order of the numbers does not matter; a map may name all."""
    about = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    layers = LAYERS[::-1]
    pulled = pull(kit, tmp_path / "pulled", layers=layers)
    assert check(kit, pulled).status == 0
    names = [x["name"] for x in about["outputs"]]
    lines = [f"{x} {y}\n" for x, y in zip(layers, [0, *names[1:]], strict=True)]
    (tmp_path / "map.txt").write_text("# layer output\n\n" + "".join(lines), encoding="utf-8")
    assert check(kit, pulled, "--map", tmp_path / "map.txt").status == 0
    turned = [f"{x} {y}\n" for x, y in zip(LAYERS, names, strict=True)]
    (tmp_path / "map.txt").write_text("".join(turned), encoding="utf-8")
    ran = check(kit, pulled, "--map", tmp_path / "map.txt")
    assert ran.status == 2
    assert "words; output" in ran.err


def equal_sizes(kit: Path) -> None:
    """Make of a kit one whose outputs 0 and 1 have one size: both become the first's file."""
    about = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    kept = about["outputs"][:2]
    for key in ("shape", "count", "width"):
        kept[1][key] = kept[0][key]
    about["outputs"] = kept
    for picture in about["limits"].values():
        for run, found in picture.items():
            picture[run] = [found[0], found[0]]
    (kit / "kit.json").write_text(json.dumps(about), encoding="utf-8")
    for folder in (kit / "golden").glob("*/*"):
        words = words_of(folder / "seg0_layer0_output0_inst.linear.hex")
        write_words(folder / "seg0_layer1_output0_inst.linear.hex", words[::-1])


def test_outputs_of_one_size(own_kit: Path, tmp_path: Path) -> None:
    equal_sizes(own_kit)
    right = pull(own_kit, tmp_path / "right", layers=[38, 40])
    ran = check(own_kit, right)
    assert ran.status == 0, ran.out
    assert "outputs of one size are told apart by ascending layer number: bbox_head.0" in ran.out
    other = pull(own_kit, tmp_path / "other", layers=[40, 38])
    ran = check(own_kit, other)
    assert ran.status == 1
    assert "it is output 1: give --map or --dot" in ran.out
    (tmp_path / "map.txt").write_text("40 0\n38 1\n", encoding="ascii")
    assert check(own_kit, other, "--map", tmp_path / "map.txt").status == 0
    names = [x["name"] for x in json.loads((own_kit / "kit.json").read_text())["outputs"]]
    lines = [f'n{x} [label="layer{x} net segment 0"];' for x in range(38)]
    lines += [f'n38 [label="{names[1]} net: segment 0"];', 'n39 [label="relu net segment"];']
    lines += [f'n40 [label="{names[0]}\\nnet segment 0"];', "n40 -> n38;"]
    (tmp_path / "net.dot").write_text("digraph {\n" + "\n".join(lines) + "\n}\n", encoding="ascii")
    assert check(own_kit, other, "--dot", tmp_path / "net.dot").status == 0
    assert check(own_kit, right, "--dot", tmp_path / "net.dot").status == 1


def test_numbers_as_names_in_a_dot_file(own_kit: Path, tmp_path: Path) -> None:
    """Networks out of ONNX have layers called 0 and 1, too: there a number is a name."""
    equal_sizes(own_kit)
    path = own_kit / "kit.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    for output, name in zip(about["outputs"], ("467", "0"), strict=True):
        output.update(name=name, layers=[name])
    path.write_text(json.dumps(about), encoding="utf-8")
    other = pull(own_kit, tmp_path / "other", layers=[40, 38])
    names = ["data", "1", *(f"layer{x}" for x in range(2, 38)), "0", "relu", "467"]
    lines = [f'n{x} [label="{y} net segment 0"];\n' for x, y in enumerate(names)]
    (tmp_path / "net.dot").write_text("".join(lines), encoding="ascii")
    ran = check(own_kit, other, "--dot", tmp_path / "net.dot")
    assert ran.status == 0, ran
    (tmp_path / "map.txt").write_text("40 0\n38 1\n", encoding="ascii")
    assert check(own_kit, other, "--map", tmp_path / "map.txt").status == 0


def only(path: Path) -> None:
    for other in path.parent.iterdir():
        if other != path:
            other.unlink()


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "one missing": (Path.unlink, "holds 8 files of outputs, the network has 9"),
    "empty": (lambda x: x.write_bytes(b""), "is empty"),
    "cut off": (lambda x: x.write_bytes(x.read_bytes()[:-9]), "layer123_output0_inst.linear.hex "
                "holds 63 words; the outputs have 2048, 512, 128, 1024, 256, 64"),
    "cut off in a word": (lambda x: x.write_bytes(x.read_bytes()[:-3]), 'word 64 of 64 is "'),
    "cut off by a sign": (lambda x: x.write_bytes(x.read_bytes()[:-2]), "was cut off: pull it"),
    "short words": (lambda x: x.write_bytes(b"12\n" * 16), 'word 1 of 16 is "12"; expected 8'),
    "decimal": (lambda x: x.write_bytes(b"0.251000\n" * 16), 'word 1 of 16 is "0.251000"; expe'),
    "a 0x in front": (lambda x: x.write_bytes(b"0x000012\n" * 16), 'word 1 of 16 is "0x000012"'),
    "not hexadecimal": (lambda x: x.write_bytes(b"ghijklmn\n" * 64), "hexadecimal digits"),
    "too long a number": (lambda x: x.write_bytes(b"0000000000\n" * 64), "hexadecimal digits"),
    "binary": (lambda x: x.write_bytes(bytes(range(256)) * 9), "hexadecimal digits"),
    "another name": (lambda x: x.rename(x.with_name("layer123.hex")), "of other names (layer123.h"),
    "twice": (lambda x: shutil.copy(x, x.with_name(x.name.replace("123", "7123"))),
              "holds 10 files of outputs, the network has 9; those of an earlier run too?"),
    "huge": (lambda x: os.truncate(x, 1 << 40), "is larger than the"),
    "folder": (lambda x: (x.unlink(), x.mkdir()), "is no file"),
    "pipe": (lambda x: (x.unlink(), os.mkfifo(x)), "is no file"),
    "only one": (only, "holds 1 files of outputs"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_files_that_are_no_outputs(kit: Path, tmp_path: Path, fault: str) -> None:
    change, said = BAD[fault]
    pulled = pull(kit, tmp_path / "pulled")
    change(pulled / "008_astronaut" / f"seg0_layer{LAYERS[5]}_output0_inst.linear.hex")
    ran = check(kit, pulled / "008_astronaut")
    assert (ran.status, ran.out) == (2, ""), ran
    assert ran.err.startswith("check: ")
    assert ran.err.count("\n") == 1
    assert said in ran.err


def test_what_is_missing_is_said_and_the_rest_compared(kit: Path, tmp_path: Path) -> None:
    pulled = pull(kit, tmp_path / "pulled")
    shutil.rmtree(pulled / "probe")
    ran = check(kit, pulled)
    assert ran.status == 2
    assert ran.err.splitlines() == [
        f"check: {pulled / 'probe'} is missing: run run_on_board.sh and pull it again; without it "
        "the order of channels and means is not proven"
    ]
    assert ran.out.splitlines()[-1] == (
        "verdict: not complete: the 18 outputs that could be compared agree, but files are missing "
        "or damaged, see above; the order of channels and means is not proven"
    )
    files = sorted((pulled / PICTURES[0]).iterdir())
    files[4].write_bytes(files[4].read_bytes()[:-3])
    ran = check(kit, pulled)
    assert (ran.status, ran.err.count("\n")) == (2, 2)
    assert f"{files[4]}: word " in ran.err
    assert ran.out.count("equal word for word") == 9
    only(files[0])
    spoil(pulled, PICTURES[1], 2, lambda x: -x)
    assert check(kit, pulled).status == 1
    (pulled / PICTURES[1]).rename(pulled / "results (1)")
    shutil.rmtree(pulled / PICTURES[0])
    ran = check(kit, pulled)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "pulled holds results (1); expected a folder for each of 007_solvay" in ran.err


def test_line_ends_of_windows(kit: Path, tmp_path: Path) -> None:
    pulled = pull(kit, tmp_path / "pulled")
    for path in pulled.glob("*/*.hex"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    about = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    lines = [f"{x} {y['name']}\r\n" for x, y in zip(LAYERS, about["outputs"], strict=True)]
    (tmp_path / "map.txt").write_text("\ufeff# of Notepad\r\n" + "".join(lines), "utf-8")
    assert check(kit, pulled, "--map", tmp_path / "map.txt").status == 0


def test_a_wide_limit_lets_no_dead_output_pass(own_kit: Path, tmp_path: Path) -> None:
    """8 bits can blur an output so far that nothing at all would be near enough."""
    path = own_kit / "kit.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    entry = about["limits"]["008_astronaut"]["16bit"][3]
    entry["limit"] = 2 * entry["norm"]
    path.write_text(json.dumps(about), encoding="utf-8")
    pulled = pull(own_kit, tmp_path / "pulled")
    spoil(pulled, "008_astronaut", 3, lambda x: x * 0)
    ran = check(own_kit, pulled)
    assert ran.status == 1
    assert "all zero" in ran.out


def blur(kit: Path, *places: tuple[str, int], share: float = 0.75) -> None:
    """Say that 8 bit moves outputs of pictures by so much."""
    path = kit / "kit.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    for picture, output in places:
        entry = about["limits"][picture]["8bit"][output]
        entry["limit"] = share * entry["norm"]
    path.write_text(json.dumps(about), encoding="utf-8")


def test_a_limit_as_wide_as_the_output_proves_nothing(own_kit: Path, tmp_path: Path) -> None:
    pulled = pull(own_kit, tmp_path / "pulled", "8bit")
    for picture in PICTURES:
        spoil(pulled, picture, 3, lambda x: x // 2)
    blur(own_kit, *((x, 3) for x in PICTURES), share=0.65)
    assert check(own_kit, pulled, "--bits", "8").out.count("\nok   ") == 28
    blur(own_kit, (PICTURES[0], 3))
    ran = check(own_kit, pulled, "--bits", "8")
    assert ran.status == 0
    (line,) = (x for x in ran.out.splitlines() if x.startswith("? "))
    assert line.startswith(f"?    {PICTURES[0]} output 3 class_head.0")
    assert "cannot be compared, because 8 bit blurs this output on this picture" in line
    assert ran.out.splitlines()[-1].startswith(
        "verdict: 26 outputs agree, 1 cannot be compared at 8 bit: the board computes"
    )
    blur(own_kit, *((x, 3) for x in PICTURES))
    ran = check(own_kit, pulled, "--bits", "8")
    assert ran.status == 2
    assert ran.out.splitlines()[-1] == (
        "verdict: not complete: the 24 outputs that could be compared agree, but "
        "class_head.0_Conv cannot be compared at 8 bit on any picture; compile for 16 bit and run "
        "again"
    )
    for picture in PICTURES:
        spoil(pulled, picture, 3, lambda x: -x)
    ran = check(own_kit, pulled, "--bits", "8")
    assert ran.out.count("FAIL") == 3


def test_wide_limits_everywhere(own_kit: Path, tmp_path: Path) -> None:
    """Neither passes noise nor is it called another picture's or output's."""
    blur(own_kit, *((x, y) for x in PICTURES for y in range(9)), share=1.45)
    pulled = pull(own_kit, tmp_path / "pulled", "8bit")
    random = np.random.default_rng(1)
    for picture in PICTURES:
        for number in range(9):
            spoil(pulled, picture, number, lambda x: random.integers(-1, 2, len(x)))
    ran = check(own_kit, pulled, "--bits", "8")
    assert ran.status == 2
    assert "\nok " not in ran.out
    assert ran.out.splitlines()[-1].startswith("verdict: not complete: bbox_head.0_Conv, bbox_h")
    for picture in PICTURES:
        for number in range(9):
            spoil(pulled, picture, number, lambda x: random.integers(-(2**31), 2**31, len(x)))
    ran = check(own_kit, pulled, "--bits", "8")
    assert ran.status == 1
    assert "it is " not in ran.out
    assert "bytes are in the other order" not in ran.out


def test_an_output_that_8_bit_wipes_out(own_kit: Path, tmp_path: Path) -> None:
    """Zeros where the simulation has zeros prove nothing if float has other values."""
    path = own_kit / "kit.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    entry = about["limits"]["008_astronaut"]["8bit"][3]
    entry.update(noise=entry["norm"], limit=1.5 * entry["norm"], norm=0)
    path.write_text(json.dumps(about), encoding="utf-8")
    golden = own_kit / "golden" / "8bit" / "008_astronaut" / "seg0_layer3_output0_inst.linear.hex"
    write_words(golden, words_of(golden) * 0)
    pulled = pull(own_kit, tmp_path / "pulled", "8bit")
    ran = check(own_kit, pulled, "--bits", "8")
    assert "?    008_astronaut output 3 class_head.0_Conv: equal word for word; cannot" in ran.out
    entry.update(noise=0, limit=0.01)
    path.write_text(json.dumps(about), encoding="utf-8")
    assert "ok   008_astronaut output 3" in check(own_kit, pulled, "--bits", "8").out


def test_a_dead_first_picture_does_not_choose_the_bits(kit: Path, tmp_path: Path) -> None:
    pulled = pull(kit, tmp_path / "pulled", "8bit")
    for number in range(9):
        spoil(pulled, PICTURES[0], number, lambda x: x * 0)
    ran = check(kit, pulled)
    assert "compared with the 8 bit network, the nearer one" in ran.out
    assert "verdict: 9 comparisons failed" in ran.out


MAPS = {
    "a layer twice": "38 0\n38 1\n",
    "an output twice": "38 0\n40 bbox_head.0_Conv\n",
    "no output": "38 12\n",
    "three words": "38 0 1\n",
    "nothing": "# no line\n",
}


@pytest.mark.parametrize("fault", MAPS)
def test_maps_that_are_wrong(kit: Path, tmp_path: Path, fault: str) -> None:
    (tmp_path / "map.txt").write_text(MAPS[fault], encoding="ascii")
    ran = check(kit, pull(kit, tmp_path / "pulled"), "--map", tmp_path / "map.txt")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    last = MAPS[fault].splitlines()[-1]
    said = f'map.txt: "{last}" ' if fault != "nothing" else 'map.txt holds no line "LAYER OUTPUT"'
    assert said in ran.err


def test_names_that_the_terminal_cannot_show(own_kit: Path, tmp_path: Path) -> None:
    path = own_kit / "kit.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"bbox_head.0_Conv"', '"人脸\\u001b"'), encoding="utf-8")
    pulled = pull(own_kit, tmp_path / "拉取")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, str(own_kit / "check.py"), str(pulled)], capture_output=True, text=True,
        timeout=120, check=False, env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok   008_astronaut output 0 ???: equal word for word" in done.stdout
    shutil.rmtree(pulled / "probe")
    done = subprocess.run(
        f"{sys.executable} {own_kit / 'check.py'} {pulled} | true", shell=True, timeout=120,
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("check: ")


def test_nothing_to_compare(kit: Path, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        ran = check(kit, place)
        assert (ran.status, ran.err.count("\n")) == (2, 1), ran
    many = tmp_path / "many"
    many.mkdir()
    for number in range(10001):
        (many / str(number)).touch()
    assert "more than 10000 files" in check(kit, many).err


DAMAGE = {
    "no json": lambda x: "{",
    "deep": lambda x: "[" * 100000,
    "a list": lambda x: "[]",
    "a path": lambda x: x.replace('"008_astronaut"', '"../../etc"'),
    "another file": lambda x: x.replace('"seg0_layer0_output0_inst.linear.hex"', '"/etc/passwd"'),
    "width 0": lambda x: x.replace('"width": 16', '"width": 0'),
    "width as text": lambda x: x.replace('"width": 16', '"width": "16"'),
    "broken width": lambda x: x.replace('"width": 16', '"width": 16.0'),
    "count": lambda x: x.replace('"count": 2048', f'"count": {2048 * 10**20}'),
    "norm": lambda x: x.replace('"norm": ', '"norm": NaN, "old": '),
    "no limits": lambda x: x.replace('"limits"', '"borders"'),
    "run": lambda x: x.replace('"16bit"', '".."'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_kit(own_kit: Path, tmp_path: Path, damage: str) -> None:
    pulled = pull(own_kit, tmp_path / "pulled")
    path = own_kit / "kit.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(DAMAGE[damage](text), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    ran = check(own_kit, pulled)
    assert (ran.status, ran.out) == (2, ""), ran
    assert "kit.json is damaged; unpack the kit again" in ran.err


def test_it_needs_nothing_but_an_old_python(kit: Path) -> None:
    """Python 3.6: what it would evaluate of annotations is quoted."""
    tree = ast.parse((kit / "check.py").read_text(encoding="utf-8"), feature_version=(3, 6))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {x.name for x in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    assert {x.partition(".")[0] for x in names} <= sys.stdlib_module_names
    keywords = {x.arg for x in ast.walk(tree) if isinstance(x, ast.keyword)}
    assert "strict" not in keywords  # of zip: Python 3.10
    assert "__future__" not in names  # annotations: Python 3.7
    for node in ast.walk(tree):
        found: list[ast.expr | None] = []
        if isinstance(node, ast.FunctionDef):
            found = [*(x.annotation for x in node.args.args), node.returns]
        elif isinstance(node, ast.ClassDef):
            found = [x.annotation for x in node.body if isinstance(x, ast.AnnAssign)]
        assert all(isinstance(x, ast.Name | ast.Constant | ast.Attribute) for x in found if x)


def test_checking_writes_nothing(own_kit: Path, tmp_path: Path) -> None:
    pull(own_kit, own_kit / "pulled")
    before = hashes(tmp_path)
    assert check(own_kit, "pulled", cwd=own_kit).status == 0
    assert hashes(tmp_path) == before


SAMPLE = """#!/bin/sh
# Behaves as the SDK's sample: a list of its samples, or Segnet with the files of ./data.
if [ $# -eq 0 ]; then
    printf 'Usage : %s <index> \\n' "$0"
    printf 'index:\\n\\t 0) RFCN(VI->VPSS->NNIE->VGS->VO).\\n\\t 1) RFCN(Read File).\\n'
    printf '\\t 2) Segnet(Read File).\\n\\t 3) FasterRcnnAlexnet(Read File).\\n'
    exit 1
fi
[ "$1" = 2 ] || exit 1
cmp -s data/nnie_model/segmentation/inst_segnet_cycle.wk "$MODEL" || exit 1
for picture in "$KIT"/inputs/*; do
    if cmp -s data/nnie_image/rgb_planar/segnet_image_224x224.bgr "$picture"; then
        name=$(basename "$picture" .bgr)
        for number in 0 1 2 3 4 5 6 7 8; do
            cp "$KIT/golden/16bit/$name/seg0_layer${number}_output0_inst.linear.hex" \\
                "seg0_layer$((40 + number))_output0_inst.linear.hex"
        done
    fi
done
"""


def on_board(kit: Path, folder: Path, *words: str, sample: str = SAMPLE) -> Ran:
    program = folder / "my sdk" / "sample_nnie_main"
    program.parent.mkdir(exist_ok=True)
    program.write_text(sample, encoding="ascii")
    program.chmod(0o755)
    (folder / "net.wk").write_bytes(b"wk")
    done = subprocess.run(
        ["sh", kit / "run_on_board.sh", "my sdk/sample_nnie_main", "net.wk", *words],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "KIT": str(kit), "MODEL": str(folder / "net.wk")},
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("words", [(), ("2",)])
def test_from_the_board_to_the_verdict(own_kit: Path, tmp_path: Path, words: tuple[str]) -> None:
    for _ in range(2):
        ran = on_board(own_kit, tmp_path, *words)
        assert (ran.status, ran.err) == (0, ""), ran
        assert ran.out.splitlines() == [f"{x}: 9 outputs in pulled/{x}" for x in PICTURES]
        assert check(own_kit, own_kit / "pulled").status == 0
        assert not list(own_kit.glob("pulled/*/data"))


def test_a_sample_that_writes_nothing(own_kit: Path, tmp_path: Path) -> None:
    ran = on_board(own_kit, tmp_path, "9")
    assert ran.status == 1
    assert ran.err.count("the sample wrote no output") == 3
    ran = on_board(own_kit, tmp_path, sample="#!/bin/sh\necho no list\n")
    assert ran.status == 2
    assert "lists no Segnet sample" in ran.err
    done = subprocess.run(["sh", own_kit / "run_on_board.sh"], check=False, capture_output=True)
    assert done.returncode == 2
