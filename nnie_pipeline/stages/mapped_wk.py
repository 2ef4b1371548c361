"""The .wk of a run of the mapper: whole, of the wanted kind, and of the cfg's own network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.errors import NnieError
from nnie_pipeline.mapper.cfg import Cfg
from nnie_pipeline.mapper.messages import READ_LOG, Explanation
from nnie_pipeline.wk.header import read_header
from nnie_pipeline.wk.inputs_outputs import blob_reasons

OTHER_NETWORK = "other-network"
"""The id of the problem that the .wk is of another network than the cfg's."""


def found_wk(work: Path, run: str) -> Path | None:
    """The .wk that a run called `run` left in the folder `work`."""
    own = work / f"{run}.wk"
    if own.is_file():
        return own
    return next(iter(sorted(x for x in work.rglob("*.wk") if not x.is_symlink())), None)


def wk_problem(wk: Path | None, cfg: Cfg, home: Path) -> Explanation | None:
    """What is wrong with the .wk of a run that ended well; a warning where it cannot be told.

    Inputs and outputs have to be those of the cfg's prototxt. Of networks with ROI layers,
    recurrent ones and those in several segments no document says which blobs the header names:
    they pass.

    Args:
        wk: the file, None where there is none.
        cfg: what the mapper was given.
        home: where the cfg's relative paths start.
    """
    if wk is None:
        cause = "the mapper ended without an error, but wrote no .wk"
        return _problem("no-wk", cause, READ_LOG)
    try:
        header = read_header(wk)
    except NnieError as error:
        cause = f"the .wk that the mapper wrote is damaged ({error})"
        return _problem("bad-wk", cause, "see that the disk is not full, and run it again")
    wanted = "func" if cfg.get("is_simulation") == "1" else "chip"
    if header.kind != wanted:
        cause = f"the .wk is for {header.kind}, the cfg asks for {wanted}"
        return _problem("other-wk", cause, "check is_simulation with nnie cfg --check")
    if [x.net_type for x in header.segments] != [0]:
        return None
    name = cfg.get("prototxt_file") or ""
    try:
        reasons = blob_reasons(header, read_net(home / name, any_type=True))
    except NnieError as error:
        cause = f"whether the .wk is of this network is not known ({error})"
        return replace(_problem("net-unread", cause, "see nnie check"), severity="warning")
    if not reasons:
        return None
    more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return _problem(
        OTHER_NETWORK, f"the .wk is of another network than {name}: {reasons[0]}{more}",
        "see that this mapper compiles what the cfg names; nnie wk FILE.wk --against says more",
    )  # fmt: skip


def _problem(name: str, cause: str, fix: str) -> Explanation:
    return Explanation(name, "error", "", cause, fix, "derived")
