"""The package itself: import, command, version, threads."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import command

import vitscope as vs


def test_importing_says_nothing_and_imports_nothing_but_numpy() -> None:
    code = (
        "import sys, vitscope;"
        "print([m for m in ('torch', 'pandas', 'polars', 'pyarrow', 'matplotlib', 'lightning', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_command_keeps_its_exit_codes() -> None:
    assert command("--version").stdout == f"vitscope {vs.__version__}\n"
    assert "--steps" in command("probe", "--help").stdout
    nothing = command("report", "nowhere", expected=3)
    assert nothing.stderr.count("\n") == 1 and "is not a run directory" in nothing.stderr
    command("probe", "--size", "0", expected=2)


def test_everything_that_is_named_is_there_and_documented() -> None:
    for name in vs.__all__:
        assert hasattr(vs, name)
        if name[0] != "_":
            assert getattr(vs, name).__doc__, name


def test_threads() -> None:
    vs.set_threads(1)
    vs.set_threads(None)
    with pytest.raises(vs.InputError, match="at least 1"):
        vs.set_threads(0)
    assert issubclass(vs.InputError, ValueError) and issubclass(vs.Interrupted, KeyboardInterrupt)
