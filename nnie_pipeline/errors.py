"""The errors a user may see, each with the exit status it ends the command with.

A message is one line: what was tried, what was found, what to do. Anything that is
not one of these is a bug of this project and ends with status 4.
"""

from __future__ import annotations


class NnieError(Exception):
    """Base of all errors that are reported as one clear line."""

    exit_status = 2


class InputError(NnieError):
    """The command line, a file or the file system is not as it has to be (status 2)."""

    exit_status = 2


class CheckError(NnieError):
    """A verification, a rule or an accuracy bar failed (status 1)."""

    exit_status = 1


class NotExpressibleError(NnieError):
    """The network needs something NNIE's Caffe cannot express (status 3)."""

    exit_status = 3
