"""How long work tells what it is doing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

Progress = Callable[[int, int, str], object]


class Bar:
    """A line on stderr: what is going on, and how far it is."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._width = 0

    def __call__(self, done: int, total: int, text: str) -> None:
        if text.startswith("note: "):
            self._stream.write(f"\r{text.ljust(self._width)}\n")
            self._width = 0
        else:
            share = done / total if total else 0.0
            line = f"{text}  [{'=' * int(30 * share):<30}] {done}/{total}"
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
            if total and done >= total:
                self._stream.write("\n")
                self._width = 0
        self._stream.flush()


def progress_of(progress: Progress | bool | None) -> Progress | None:
    """A callable as it is, a bar for True, nothing for False and None."""
    if progress is True:
        return Bar()
    if progress is False or progress is None:
        return None
    return progress
