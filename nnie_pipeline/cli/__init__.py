"""The `nnie` command: one module a subcommand, each a thin layer over a stage."""

from __future__ import annotations

import importlib
import io
import signal
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, NoReturn

from nnie_pipeline.cli.common import fail, reported

if TYPE_CHECKING:
    import typer

COMMANDS = {
    "run": "Run every stage, from weights to the report; stages that are up to date are left out.",
    "fetch": "Fetch the weights of a model and check their hash.",
    "inspect": "Show what an ONNX model holds, what would be refused, and how to export it better.",
    "convert": "Convert an ONNX model to Caffe; every kept output is compared with onnxruntime's.",
    "rewrite": "Rewrite a Caffe network for NNIE; the outputs are compared after every pass.",
    "check": "List every NNIE rule that a network breaks; ends with 1 when one is an error.",
    "sizes": "List all valid input sizes with their cost, and what a detector finds at each.",
    "calibrate": "Write calibration pictures at network size, with lists and raw planes.",
    "cfg": "Write cfg files and all they need, or check (--check) and explain (--explain) them.",
    "dump": "Write every blob of the float network as .npy, with dump.json in execution order.",
    "simulate": "Run the network with NNIE's 8 or 16 bit numbers and dump every blob.",
    "cut": "Cut a part out of a network: prototxt, weights, inputs as text, cfg files and dumps.",
    "map": (
        "Run nnie_mapper, show its stages, explain its errors, collect .wk, dot files and dumps."
    ),
    "bisect": (
        "Halve a network to the layer that makes the mapper fail; without a mapper, prepare that."
    ),
    "sensitivity": (
        "Quantise one layer at a time and all but one; the error of the outputs for each."
    ),
    "mixed": "Mark the layers that need 16 bits; ends with 1 when the target cannot be reached.",
    "compare": (
        "Compare two dumps of any kind in execution order, with RuyiStudio's metrics and more."
    ),
    "evaluate": (
        "Compare the original, the float network and both simulations on a folder of pictures."
    ),
    "diagnose": "Explain a dump: try the usual mistakes by recomputing with each, and rank them.",
    "bringup": (
        "Write the kit for the board, a folder and a .tar.gz: inputs, golden outputs, C, check.py."
    ),
    "report": "Write report.html of a build folder again, without running anything else.",
    "wk": "Show what a compiled .wk file holds, or prove which network it is.",
    "export_onnx": "Write a Caffe network as ONNX, with Caffe's own rounding and borders.",
}
"""The module of each subcommand and the first line of its help: to list them loads none."""

_INTERRUPTED = 130


def application(loaded: Collection[str] = tuple(COMMANDS)) -> typer.Typer:
    """The command line; of subcommands that are not in `loaded` it only knows that they exist."""
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
    for name, summary in COMMANDS.items():
        if name in loaded:
            command = importlib.import_module(f"nnie_pipeline.cli.{name}").command
            app.command(_spelled(name))(command)
        else:
            app.command(_spelled(name), help=summary)(_not_loaded)
    return app


@reported
def run(arguments: list[str]) -> None:
    """Run the command line `arguments`; without any, show the help.

    Raises:
        SystemExit: with the exit status, always.
    """
    # To load all subcommands takes longer than what many of them do.
    app = application([x for x in COMMANDS if arguments[:1] == [_spelled(x)]])
    try:
        status = app(arguments or ["--help"], prog_name="nnie", standalone_mode=False)
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
        signal.signal(signal.SIGTERM, _end)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(signal.SIGHUP, _end)
        run(sys.argv[1:])
    except KeyboardInterrupt:
        fail("interrupted before anything was done", _INTERRUPTED)
    finally:
        # All is written; the interpreter only has to end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise SystemExit(0)


def _end(number: int, _: object) -> NoReturn:
    """End as after an error, so that everything is cleared up; a closed terminal takes no words."""
    for other in (signal.SIGTERM, signal.SIGHUP):  # which often come together
        signal.signal(other, signal.SIG_IGN)
    try:
        fail("ended by a signal", 128 + number)
    except OSError:
        raise SystemExit(128 + number) from None


def _not_loaded() -> None:
    """In place of a subcommand that the command line does not name."""


def _spelled(module: str) -> str:
    """The name of the subcommand in `module`."""
    return module.replace("_", "-")


def _refuse(message: str, context: object) -> NoReturn:
    """Bad usage in one line."""
    command = getattr(context, "command_path", "nnie")
    text = message.strip().rstrip(".")
    fail(f"{text[:1].lower()}{text[1:]}; {command} --help shows the usage", 2)
