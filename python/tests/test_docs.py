"""The examples of docs/python.md, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import FIXTURES, REPOSITORY, scenes

from vitscope import _vitscope

PAGE = (REPOSITORY / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"(<!-- torch -->\n)?```python\n(.*?)```", PAGE, re.DOTALL)


def test_there_are_examples() -> None:
    assert len(BLOCKS) == 5 and sum(bool(torch) for torch, _ in BLOCKS) == 3
    five = BLOCKS[0][1].strip().splitlines()
    assert len([line for line in five if line]) <= 5
    # README shows the same five lines.
    assert BLOCKS[0][1] in (REPOSITORY / "README.md").read_text()


@pytest.mark.parametrize("number", range(5))
def test_examples_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch, code = BLOCKS[number]
    if torch:
        pytest.importorskip("torch")
        pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    scenes(tmp_path / "photos", train=8)
    if "dinov2-s14" in code:
        # No network, and no time for 5,000 steps: a tiny model under the example's name, and fewer steps.
        code = code.replace('"dinov2-s14"', repr(str(FIXTURES / "dinov2-timm")))
        real: Any = _vitscope.probe
        few = [("steps", "10"), ("batch", "4"), ("pca_batches", "2"), ("size", "56"), ("resamples", "10")]

        def quick(model: Any, features: Any, data: Any, out: Any, typed: Any, *rest: Any) -> Any:
            return real(model, features, data, out, [*typed, *few], *rest)

        monkeypatch.setattr(_vitscope, "probe", quick)
    exec(compile(code, f"docs/python.md, example {number + 1}", "exec"), {})
