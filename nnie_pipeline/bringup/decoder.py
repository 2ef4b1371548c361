"""nnie_decoder.c: one C file that decodes the outputs of one head; it reads nnie_model.h."""

from __future__ import annotations

from pathlib import Path

from nnie_pipeline.heads.detections import Detections, Floats

DECODER = "nnie_decoder.c"

_PARTS = Path(__file__).resolve().parent / "data"


def decoder(name: str) -> str:
    """The C source for the head that a spec calls `name`.

    `nnie_decode` (of a recogniser `nnie_embed`) works on the board's own blobs. With NNIE_HOST
    defined it has a main that reads the files of the SDK's sample and prints what
    `detection_lines` and `embedding_lines` write.
    """
    kind = ["embedding"] if name == "embedding" else ["detections", name]
    parts = ["common", *kind, "host", f"host_{kind[0]}", "host_main"]
    return "".join((_PARTS / f"{x}.c").read_text(encoding="ascii") for x in parts)


def detection_lines(found: Detections) -> str:
    """A line a detection: score, class, x1 y1 x2 y2, and x y of every landmark."""
    lines = []
    for box, score, marks, kind in zip(
        found.boxes, found.scores, found.landmarks, found.classes, strict=True
    ):
        numbers = [f"{x:.4f}" for x in (*box, *marks.reshape(-1))]
        lines.append(f"{score:.6f} {kind} {' '.join(numbers)}\n")
    return "".join(lines)


def embedding_lines(vector: Floats) -> str:
    """A line a value."""
    return "".join(f"{x:.9f}\n" for x in vector)
