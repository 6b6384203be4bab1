"""What tests share: drawn features, masks and a folder of images. Nothing needs torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vitscope import _vitscope

REPOSITORY = Path(__file__).resolve().parents[2]
FIXTURES = REPOSITORY / "crates" / "vitscope-testkit" / "fixtures"

GRID, PATCH, CLASSES, WIDTH = (4, 4), 8, 3, 12


def drawn(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Patch vectors ``[n, 16, 12]`` and the masks ``[n, 32, 32]`` that they show, with noise."""
    rng = np.random.default_rng(seed)
    rows = (np.arange(4)[None, :] + rng.integers(0, 3, images)[:, None]) // 2 % CLASSES
    classes = np.repeat(rows[:, :, None], 4, axis=2)
    means = 3 * np.eye(CLASSES, WIDTH)
    features = means[classes.reshape(images, 16)] + 0.5 * rng.normal(size=(images, 16, WIDTH))
    masks = classes.repeat(PATCH, axis=1).repeat(PATCH, axis=2).astype(np.uint8)
    masks[:, :2, :2] = 255
    return features.astype(np.float32), masks


@pytest.fixture(scope="session")
def train() -> tuple[np.ndarray, np.ndarray]:
    return drawn(24, 0)


@pytest.fixture(scope="session")
def test() -> tuple[np.ndarray, np.ndarray]:
    return drawn(10, 1)


def scenes(folder: Path, side: int = 64, train: int = 8, test: int = 4) -> Path:
    """A folder of drawn images with masks of two classes."""
    rng = np.random.default_rng(3)
    for split, count in (("train", train), ("test", test)):
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            mask = np.zeros((side, side), np.uint8)
            y, x = rng.integers(0, side // 2, 2)
            mask[y : y + side // 2, x : x + side // 2] = 1
            colors = rng.integers(0, 255, (2, 3))
            image = colors[mask] * 0.8 + rng.integers(0, 50, (side, side, 3))
            name = f"{split}{index:03}.png"
            _vitscope.png_of(image.astype(np.uint8), folder / "images" / split / name)
            _vitscope.png_of(mask, folder / "masks" / split / name)
    (folder / "classes.txt").write_text("ground\nsquare\n")
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes(tmp_path_factory.mktemp("scenes"))


def command(*arguments: object, expected: int = 0) -> subprocess.CompletedProcess[str]:
    """The command that the package installs."""
    program = Path(sys.executable).parent / "vitscope"
    done = subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == expected, done.stderr
    return done


def same_files(a: Path, b: Path, *names: str) -> None:
    for name in names:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
