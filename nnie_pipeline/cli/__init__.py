"""The `nnie` command: one module a subcommand, each a thin layer over a stage."""

from __future__ import annotations

import importlib

import typer

_COMMANDS = (
    "run",
    "fetch",
    "convert",
    "rewrite",
    "check",
    "sizes",
    "calibrate",
    "cfg",
    "dump",
    "simulate",
    "compare",
    "report",
    "wk",
)


def application() -> typer.Typer:
    """The command line with every subcommand."""
    app = typer.Typer(
        name="nnie",
        help="Trained weights in; an NNIE-ready Caffe network, calibration data, cfg files and a "
        "report out.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in _COMMANDS:
        module = importlib.import_module(f"nnie_pipeline.cli.{name}")
        app.command(name)(module.command)
    return app


def main() -> None:
    """Entry point of the console script."""
    application()()
