"""What every page is made with: templates that escape, files of the package, a policy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files as package_files

import jinja2

from nnie_pipeline.report import formats


def environment() -> jinja2.Environment:
    """The templates; every value that is put in is escaped, and a missing one is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("nnie_pipeline.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    for name in ("number", "decimals", "short", "exponent", "cosine", "pixels", "count", "size",
                 "shape"):  # fmt: skip
        made.filters[name] = getattr(formats, name)
    return made


def asset(name: str) -> str:
    """A file beside the templates."""
    return (package_files(__package__) / "templates" / name).read_text(encoding="utf-8")


def policy(scripts: Sequence[str]) -> str:
    """The browser runs these scripts and nothing else, and loads nothing at all.

    So a name that were to get into the page unescaped could still do no harm.
    """
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(x.encode()).digest()).decode()}'"
        for x in scripts
    ]
    allowed = " ".join(hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
