"""Features, masks and images on disk while a run is made of them, in the forms that the program reads."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vitscope import _arrays, _vitscope
from vitscope._arrays import F32, U8, Grid
from vitscope._vitscope import DataError, InputError

Slot = tuple[int, str]


class Features:
    """How batches of features are read; learns the grid from the first."""

    def __init__(self, *, grid: Grid | None, layout: str | None, slot: Slot, ignore: int) -> None:
        self.grid = grid
        self.layout = layout
        self.slot = slot
        self.ignore = ignore

    def rows(self, features: Any) -> dict[Slot, F32]:
        """The patch vectors of every slot of a batch, ``[B, N, D]`` each."""
        given = features if isinstance(features, Mapping) else {self.slot: features}
        rows: dict[Slot, F32] = {}
        for name, value in given.items():
            slot = slot_of(name)
            rows[slot], self.grid = _arrays.features(
                value, self.grid, self.layout, f"features of {slot[1]}.{slot[0]}"
            )
            _check_finite(rows[slot], f"features of {slot[1]}.{slot[0]}")
        if self.grid is not None and self.grid[0] != self.grid[1]:
            raise InputError(
                f"a run needs a square grid of patches, got {self.grid[0]} x {self.grid[1]}: Probe takes any grid"
            )
        if len({len(part) for part in rows.values()}) != 1:
            shapes = ", ".join(f"{name}: {part.shape}" for name, part in rows.items())
            raise InputError(f"a batch must hold the same images in every slot, got {shapes or 'none'}")
        return rows


def _check_finite(rows: F32, what: str) -> None:
    # A sum in f64 is not finite where a value is not, and costs less than looking at each.
    if not np.isfinite(rows.sum(dtype=np.float64)):
        for index, image in enumerate(rows):
            if not np.isfinite(image).all():
                raise InputError(f"{what} of shape {rows.shape}: image {index} holds a value that is not finite")


def slot_of(name: Any) -> Slot:
    """``(9, "key")`` or ``"key.9"``."""
    if isinstance(name, str) and name.count(".") == 1 and name.split(".")[1].isdigit():
        facet, layer = name.split(".")
        return int(layer), facet
    if isinstance(name, tuple) and len(name) == 2 and isinstance(name[0], int):
        return name[0], str(name[1])
    raise InputError(f"features of {name!r}: expected (layer, facet) or 'facet.layer', such as (9, 'key')")


class Spool:
    """A folder beside the run, gone when the run is made: a feature directory, and a data set of masks and images."""

    def __init__(self, out: Path, *, model: str, patch: int | None, own_data: bool) -> None:
        self._out = out
        self._model = model
        self._patch = patch
        self._own_data = own_data
        self._classes = 0
        self._size: tuple[int, int] | None = None
        self._root: Path | None = None
        self._grid: Grid | None = None
        self._depth = 0

    def __enter__(self) -> Spool:
        try:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.mkdtemp(prefix=f".{self._out.name}-", dir=self._out.parent)
        except OSError as error:
            raise DataError(f"{self._out.parent}: cannot be written to: {error}") from error
        self._root = Path(folder)
        (self._root / "features").mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)

    @property
    def root(self) -> Path:
        """The folder."""
        assert self._root is not None
        return self._root

    @property
    def features(self) -> Path:
        """The feature directory."""
        return self.root / "features"

    @property
    def data(self) -> str:
        """The data set."""
        return f"folder:{self.root / 'data'}"

    def write(self, split: str, source: Any, reading: Features) -> None:
        """Writes a split: an array of features, or batches of them."""
        whole = hasattr(source, "shape") or isinstance(source, Mapping)
        if not whole and not isinstance(source, Iterable):
            raise InputError(f"{split}: expected features or batches of them, got {type(source).__name__}")
        whole = whole or (isinstance(source, tuple) and len(source) in (2, 3) and _is_batch(source))
        # What makes batches one by one may use their memory again for the next one.
        keeps = whole or isinstance(source, (list, tuple))
        writer = _SplitFiles(self.root, split)
        for batch in [source] if whole else source:
            parts = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
            features, masks, images = (*parts, None, None)[:3]
            rows = reading.rows(features)
            assert reading.grid is not None
            self._grid = reading.grid
            self._depth = max(self._depth, *(layer for layer, _ in rows))
            writer.add(rows, reading.grid, keeps=keeps)
            if self._own_data:
                self._draw(split, len(next(iter(rows.values()))), masks, images, reading.ignore)
        writer.finish()

    def same(self) -> None:
        """The test images are the training images."""
        for file in self.features.glob("train*.safetensors"):
            os.link(file, self.features / file.name.replace("train", "test", 1))
        for kind in ("images", "masks"):
            folder = self.root / "data" / kind / "train"
            for file in folder.glob("*.png") if folder.exists() else ():
                to = self.root / "data" / kind / "test" / file.name
                to.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, to)

    def depth(self, layers: int) -> None:
        """The model's layers, where not all of them are looked at."""
        self._depth = layers

    def finish(self, classes: Sequence[str] | int | None) -> None:
        """Writes what stands beside features and masks."""
        assert self._grid is not None
        patch = self._patch or 16
        if self._size is not None:
            patch = _arrays.patch_of(self._size, self._grid, "masks and images")
        about = {"model": self._model, "depth": self._depth}
        if self._own_data:
            about |= {"patch": patch, "size": patch * self._grid[0]}
        elif self._patch is not None:
            about |= {"patch": self._patch, "size": self._patch * self._grid[0]}
        (self.features / "features.json").write_text(json.dumps(about), encoding="utf-8")
        if not self._own_data:
            return
        if self._classes:
            names = self._names(classes)
            text = "\n".join(names) + "\n"
            (self.root / "data" / "classes.txt").write_text(text, encoding="utf-8")
        elif classes is not None:
            raise InputError("classes are named, but no test image has a mask: give (features, masks)")

    def _names(self, classes: Sequence[str] | int | None) -> list[str]:
        if classes is None:
            classes = self._classes
        names = [str(n) for n in range(classes)] if isinstance(classes, int) else list(classes)
        if len(names) < self._classes:
            raise InputError(
                f"masks hold class {self._classes - 1}, and there are {len(names)} classes: they count from 0"
            )
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if twice is not None:
            raise InputError(f"two classes are named {twice!r}: give every class a name of its own")
        return names

    def _draw(self, split: str, count: int, masks: Any, images: Any, ignore: int) -> None:
        """Writes masks and images of a batch; a gray image where none was given."""
        folder = self.root / "data"
        pixels = None if images is None else _pictures(images, count)
        classes: U8 | None = None
        if masks is not None:
            classes = _arrays.labels(masks, "masks", ignore)
            if len(classes) != count:
                raise InputError(f"masks: expected {count} images, as there are features, got {classes.shape}")
            known = classes[classes != 255]
            if known.size:
                self._classes = max(self._classes, int(known.max()) + 1)
        size = self._size_of(pixels, classes)
        pictures = folder / "images" / split
        pictures.mkdir(parents=True, exist_ok=True)
        first = sum(1 for _ in pictures.iterdir())
        for index in range(count):
            name = f"{first + index:06}.png"
            if pixels is not None:
                _vitscope.png_of(pixels[index], pictures / name)
            else:
                self._gray(size, pictures / name)
            if classes is not None:
                to = folder / "masks" / split
                to.mkdir(parents=True, exist_ok=True)
                _vitscope.png_of(classes[index], to / name)

    def _size_of(self, pixels: U8 | None, classes: U8 | None) -> tuple[int, int]:
        assert self._grid is not None
        patch = self._patch or 16
        sizes = [(a.shape[1], a.shape[2]) for a in (pixels, classes) if a is not None]
        size = sizes[0] if sizes else (self._grid[0] * patch, self._grid[1] * patch)
        _arrays.patch_of(size, self._grid, "masks and images")
        for other in (*sizes, self._size or size):
            if other != size:
                raise InputError(
                    f"masks and images must be of one size: {size[0]} x {size[1]} and {other[0]} x {other[1]} pixels"
                )
        self._size = size
        return size

    def _gray(self, size: tuple[int, int], to: Path) -> None:
        gray = self.root / "gray.png"
        if not gray.exists():
            _vitscope.png_of(np.full((*size, 3), 128, np.uint8), gray)
        os.link(gray, to)


# Batches wait in memory until they fill a file: enough for few files, too little to matter.
_FILE_BYTES = 128 << 20


class _SplitFiles:
    """The feature files of a split whose number of images is known only at the end."""

    def __init__(self, root: Path, split: str) -> None:
        self._root = root
        self._split = split
        self._slots: dict[Slot, int] = {}
        self._grid: Grid | None = None
        self._held: list[dict[Slot, F32]] = []
        self._bytes = 0
        self._parts = 0

    def add(self, rows: dict[Slot, F32], grid: Grid, *, keeps: bool) -> None:
        widths = {slot: part.shape[2] for slot, part in rows.items()}
        if self._slots and widths != self._slots:
            raise InputError(
                f"{self._split}: batches differ in slots or widths: {_told(self._slots)} and {_told(widths)}"
            )
        self._slots, self._grid = widths, grid
        self._held.append(rows if keeps else {slot: part.copy() for slot, part in rows.items()})
        self._bytes += sum(part.nbytes for part in rows.values())
        if self._bytes >= _FILE_BYTES:
            self._flush()

    def _flush(self) -> None:
        assert self._grid is not None
        slots = [(f"{facet}.{layer}", width) for (layer, facet), width in self._slots.items()]
        count = sum(len(next(iter(rows.values()))) for rows in self._held)
        if not count:
            return
        folder = self._root / f"{self._split}-{self._parts}"
        folder.mkdir()
        writer = _vitscope.FeatureWriter(folder, self._split, slots, list(self._grid), count)
        for rows in self._held:
            writer.add([rows[slot] for slot in self._slots])
        self._held, self._bytes, self._parts = [], 0, self._parts + 1

    def finish(self) -> None:
        self._flush()
        files = [
            file
            for part in range(self._parts)
            for file in sorted((self._root / f"{self._split}-{part}").iterdir())
        ]
        if not files:
            raise InputError(f"{self._split}: there are no features")
        for index, file in enumerate(files):
            shard = "" if len(files) == 1 else f"-{index + 1:05}-of-{len(files):05}"
            file.rename(self._root / "features" / f"{self._split}{shard}.safetensors")


def _told(slots: dict[Slot, int]) -> str:
    return ", ".join(f"{facet}.{layer} of {width}" for (layer, facet), width in slots.items())


def _is_batch(source: tuple[Any, ...]) -> bool:
    """Whether a tuple is one batch of features, masks and images, not batches of features."""
    first, second = source[0], source[1]
    shape = _arrays.shape_of(second) if hasattr(second, "shape") else ()
    features = isinstance(first, Mapping) or hasattr(first, "shape")
    return features and len(shape) == 3 and not str(getattr(second, "dtype", "")).endswith(("float32", "16"))


def _pictures(images: Any, count: int) -> U8:
    """Images as bytes ``[B, H, W, 3]``: bytes as they are, [0, 1] scaled, others from their least to their largest."""
    pixels = _arrays.on_cpu(images, "images")
    if pixels.ndim == 4 and pixels.shape[1] == 3 and pixels.shape[3] != 3:
        pixels = pixels.transpose(0, 2, 3, 1)
    if pixels.ndim != 4 or pixels.shape[3] != 3 or len(pixels) != count:
        raise InputError(f"images: expected [{count}, H, W, 3], got shape {pixels.shape}")
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    pixels = pixels.astype(np.float32)
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        pixels = (pixels - low) / max(high - low, 1e-12)
    return np.rint(pixels * 255).astype(np.uint8)
