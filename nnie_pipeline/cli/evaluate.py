"""`nnie evaluate`: what 16 and 8 bit cost on your own pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, reported

_NAMES = {"onnx": "original", "float": "float Caffe", "16": "16 bit", "8": "8 bit"}


@reported
def command(
    build: Annotated[Path, typer.Argument(help="the folder that nnie run made")],
    images: Annotated[Path, typer.Option(help="folder of pictures")],
    pairs: Annotated[
        Path | None,
        typer.Option(help="CSV of image_a,image_b,same: a recogniser's accuracy on these pairs"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compare the original, the float network and both simulations on a folder of pictures.

    Of a detector: what is found, and how many pixels it moves. Of a recogniser: the cosine between
    its embeddings, and with --pairs the ten-fold accuracy of telling persons apart.
    """
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.files import added_files, replaced_folder, to_json
    from nnie_pipeline.stages.built import open_build

    if pairs is not None:
        existing_file(pairs, "pairs")
    built = open_build(build)
    if pairs is not None:
        from nnie_pipeline.heads.verification import read_pairs
        from nnie_pipeline.stages.pairs import accuracy_on_pairs

        read = read_pairs(pairs)
        with added_files(build / "evaluate") as folder, progress_bar("pictures") as bar:
            result = accuracy_on_pairs(built, read, images, folder, bar)
    else:
        from nnie_pipeline.stages.evaluate_own import OWN, evaluate_own

        with replaced_folder(build / "evaluate" / OWN) as folder, progress_bar("pictures") as bar:
            result = evaluate_own(built, images, folder, bar)
    if as_json:
        typer.echo(to_json(result), nl=False)
        return
    say = partial(console().print, markup=False)
    if pairs is not None:
        say(f"{result['pairs']} pairs of {result['pictures']} pictures, {result['folds']} folds")
        for run, found in result["runs"].items():
            say(
                f"{_NAMES[run]:<12} accuracy {found['accuracy']:7.2%} +- "
                f"{found['deviation']:.2%}, threshold {found['threshold']:.3f}"
            )
    else:
        from nnie_pipeline.stages.steps import evaluation_line

        say(evaluation_line(result))
        for entry in result["pictures"]:
            counts = ", ".join(f"{_NAMES[x]} {n}" for x, n in entry["counts"].items())
            say(f"{entry['name']}: found {counts}")
    say(f"next: nnie report {build}")
