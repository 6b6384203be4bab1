"""The command ``vitscope``, as ``pip install`` brings it along."""

from __future__ import annotations

import signal
import sys

from vitscope import _vitscope


def main() -> int:
    """Does what was typed and gives the program's exit code."""
    # Python only notes Ctrl-C, and looks at it when the program comes back: the program's own ways are wanted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _vitscope.command(["vitscope", *sys.argv[1:]])
