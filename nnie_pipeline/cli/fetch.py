"""`nnie fetch`: the weights of a model, from where its spec says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, reported


@reported
def command(
    model: Annotated[str, typer.Argument(help="name in the zoo, or a spec (.yaml) or file")],
    out: Annotated[Path | None, typer.Option(help="folder for a copy")] = None,
    weights: Annotated[Path | None, typer.Option(help="your own file of the weights")] = None,
) -> None:
    """Fetch the weights of a model and check their hash."""
    import shutil

    from nnie_pipeline.cli.download_bar import download_bar
    from nnie_pipeline.files import added_files
    from nnie_pipeline.zoo.fetch import fetch
    from nnie_pipeline.zoo.spec import load_spec

    spec = load_spec(model)
    with download_bar(f"fetching {spec.name}") as progress:
        fetched = fetch(spec, weights, progress)
    place = fetched.path
    name = f"{spec.name}.{'caffemodel' if spec.is_caffe else 'onnx'}"
    if out is not None:
        with added_files(out) as folder:
            shutil.copyfile(fetched.path, folder / name)
        place = out / name
    say = console()
    say.print(f"{spec.name}: {fetched.size:,} bytes from {fetched.origin}", markup=False)
    say.print(f"sha256   {fetched.sha256}", markup=False)
    limited = "non-commercial" in fetched.licence.lower()
    say.print(f"licence  {fetched.licence}", markup=False, style="bold yellow" if limited else None)
    say.print(f"file     {place}", markup=False)
