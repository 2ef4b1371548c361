"""The `nnie` command: one module a subcommand, each a thin layer over a stage."""

from __future__ import annotations

import importlib
import io
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from nnie_pipeline.cli.common import fail, reported

if TYPE_CHECKING:
    import typer

_COMMANDS = (
    "run",
    "fetch",
    "inspect",
    "convert",
    "rewrite",
    "check",
    "sizes",
    "calibrate",
    "cfg",
    "dump",
    "simulate",
    "cut",
    "map",
    "bisect",
    "sensitivity",
    "mixed",
    "compare",
    "evaluate",
    "diagnose",
    "bringup",
    "report",
    "wk",
    "export_onnx",
)
_INTERRUPTED = 130


def application(*names: str) -> typer.Typer:
    """The command line with the subcommands `names`; without any, with all of them."""
    import typer

    app = typer.Typer(
        name="nnie",
        help="Trained weights in; an NNIE-ready Caffe network, calibration data, cfg files and a "
        "report out.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(lambda: None)  # else typer would take a single command for the whole program
    for name in names or _COMMANDS:
        module = importlib.import_module(f"nnie_pipeline.cli.{name}")
        app.command(_spelled(name))(module.command)
    return app


@reported
def run(arguments: list[str]) -> None:
    """Run the command line `arguments`; without any, show the help.

    Raises:
        SystemExit: with the exit status, always.
    """
    # Reading all subcommands takes longer than many of them.
    names = [x for x in _COMMANDS if arguments[:1] == [_spelled(x)]]
    try:
        status = application(*names)(
            arguments or ["--help"], prog_name="nnie", standalone_mode=False
        )
    except Exception as error:
        # typer brings its own copy of click or uses an installed one, so its class has no one
        # name; only its usage errors have this method.
        explain = getattr(error, "format_message", None)
        if explain is None:
            raise
        _refuse(explain(), getattr(error, "ctx", None))
    if status == _INTERRUPTED:  # while typer was at work, outside of any subcommand
        raise KeyboardInterrupt
    if sys.stdout is not None:
        sys.stdout.flush()
    raise SystemExit(status)


def main() -> NoReturn:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        signal.signal(signal.SIGTERM, lambda *_: fail("ended by a signal", 128 + signal.SIGTERM))
        run(sys.argv[1:])
    except KeyboardInterrupt:
        fail("interrupted before anything was done", _INTERRUPTED)
    finally:
        # All is written; the interpreter only has to end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise SystemExit(0)


def _spelled(module: str) -> str:
    """The name of the subcommand in `module`."""
    return module.replace("_", "-")


def _refuse(message: str, context: object) -> NoReturn:
    """Bad usage in one line."""
    command = getattr(context, "command_path", "nnie")
    text = message.strip().rstrip(".")
    fail(f"{text[:1].lower()}{text[1:]}; {command} --help shows the usage", 2)
