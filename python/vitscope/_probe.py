"""A clustering probe over arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vitscope import _arrays, _vitscope
from vitscope._arrays import F32, U8, Grid
from vitscope._progress import Progress, progress_of
from vitscope._vitscope import InputError


class Probe:
    """Online k-means over patch vectors, which labels pixels (protocol, sections 3 to 8).

    Either :meth:`fit` on all features, which gives the bytes of the program; or, as they come, :meth:`observe` some
    batches, :meth:`start`, and :meth:`step` once a batch.

    Features are ``[B, N, D]``, ``[B, D, H, W]`` or ``[B, H, W, D]`` in f32, f16 or bf16, patches only, from numpy, torch
    (any device), jax or anything with a buffer or ``__dlpack__``. Contiguous f32 ``[B, N, D]`` on the CPU is not copied.

    Args:
        classes: Classes of the ground truth; 1 to 255.
        clusters: Clusters; as many as classes unless set.
        grid: Rows and columns of patches; read from features of four axes unless set.
        layout: ``"NLC"``, ``"NCHW"`` or ``"NHWC"``, where a shape leaves it open.
        steps, batch, lr, pca_batches, pca_interval, seed, shuffle: As for the command ``vitscope probe``.
        matching: ``"hungarian"``, or ``"majority"`` where there are more clusters than classes.
        positions: Pixels that count for the positional effect: ``"all"`` or ``"labeled"``.
        resamples: Shifts and bootstrap samples behind null and intervals; 0 for none.
    """

    def __init__(
        self,
        classes: int,
        *,
        clusters: int | None = None,
        grid: Grid | int | None = None,
        layout: str | None = None,
        steps: int = 5000,
        batch: int = 24,
        lr: float = 5e-3,
        pca_batches: int = 96,
        pca_interval: int = 1,
        seed: int = 0,
        shuffle: bool = True,
        matching: str = "hungarian",
        positions: str = "all",
        resamples: int = 100,
    ) -> None:
        self._settings: dict[str, Any] = {
            "clusters": classes if clusters is None else clusters,
            "classes": classes,
            "steps": steps,
            "batch": batch,
            "lr": lr,
            "pca_batches": pca_batches,
            "pca_interval": pca_interval,
            "seed": seed,
            "shuffle": shuffle,
            "matching": matching,
            "positions": positions,
            "resamples": resamples,
        }
        self._layout = layout
        self._grid: Grid | None = None
        self._inner: _vitscope.Probe | None = None
        # Settings are checked now, not when the first features come.
        self._make((1, 1))
        if grid is not None:
            self._grid = _arrays.pair(grid, "grid")
            self._inner = self._make(self._grid)

    def _make(self, grid: Grid) -> _vitscope.Probe:
        return _vitscope.Probe(grid=grid, **self._settings)

    def _rows(self, features: Any, what: str = "features") -> F32:
        rows, grid = _arrays.features(features, self._grid, self._layout, what)
        if self._inner is None:
            self._grid = grid
            self._inner = self._make(grid)
        return rows

    def _batches(self, features: Any) -> list[F32]:
        if isinstance(features, (str, bytes, Mapping)):
            raise InputError(f"features must be an array or batches of them, got {features!r}")
        if hasattr(features, "shape") or hasattr(features, "__dlpack__"):
            return [self._rows(features)]
        if not isinstance(features, Iterable):
            raise InputError(
                f"features must be an array or batches of them, got {type(features).__name__}"
            )
        batches = [self._rows(batch) for batch in features]
        if not batches:
            raise InputError("there are no features: expected at least one batch")
        widths = {batch.shape[2] for batch in batches}
        if len(widths) > 1:
            first = next(batch for batch in batches if batch.shape[2] != batches[0].shape[2])
            raise InputError(
                f"batches differ in width: one has shape {batches[0].shape}, another {first.shape}"
            )
        return batches

    def _learned(self) -> _vitscope.Probe:
        if self._inner is None:
            raise InputError(
                "the probe has learned nothing yet: fit it, or observe some batches, then start"
            )
        return self._inner

    def fit(self, features: Any, *, progress: Progress | bool | None = None) -> Probe:
        """Learns from all images, in the protocol's order: principal directions, then online k-means.

        Args:
            features: All images as one array, or batches of them.
            progress: Called with ``(done, total, text)``; True for a bar.
        """
        batches = self._batches(features)
        self._learned().fit(batches, progress_of(progress))
        return self

    def observe(self, features: Any) -> Probe:
        """Adds a batch to those that the principal directions come from, before the start."""
        rows = self._rows(features)
        self._learned().observe(rows)
        return self

    def start(self) -> Probe:
        """Makes the first centroids of what was observed."""
        self._learned().start()
        return self

    def step(self, features: Any) -> float:
        """Takes one training step on a batch; its loss, in [-1, 1]."""
        rows = self._rows(features)
        return self._learned().step(rows)

    def predict(
        self, features: Any, *, size: Grid | int | None = None, patch: int | None = None
    ) -> U8:
        """The cluster of every pixel, ``[B, H, W]`` bytes (Eq. 1).

        Args:
            features: A batch.
            size: Height and width of the maps in pixels, a whole number for each square patch.
            patch: Pixels along a patch, in place of ``size``; 1 gives a label a patch.
        """
        rows = self._rows(features)
        assert self._grid is not None
        if (size is None) == (patch is None):
            raise InputError("give size=(height, width) or patch, one of them")
        if size is not None:
            patch = _arrays.patch_of(_arrays.pair(size, "size"), self._grid, "size")
        assert patch is not None
        if patch < 1:
            raise InputError(f"patch must be at least 1 pixel, got {patch}")
        return self._learned().label(rows, patch)

    def score(
        self,
        features: Any,
        masks: Any = None,
        *,
        ignore: int = 255,
        patch: int = 1,
        progress: Progress | bool | None = None,
    ) -> dict[str, Any]:
        """Labels all images and measures the labels: the numbers of ``metrics.csv`` by their names.

        Args:
            features: All images as one array, or batches of them.
            masks: Classes of pixels ``[B, H, W]``, in one array or in batches; without them, only the positional effect.
            ignore: The class of pixels without one.
            patch: Pixels along a patch, where there are no masks to tell.
            progress: Called with ``(done, total, text)``; True for a bar.
        """
        batches = self._batches(features)
        inner = self._learned()
        truth: list[U8] | None = None
        if masks is not None:
            whole = hasattr(masks, "shape") or hasattr(masks, "__dlpack__")
            parts = [masks] if whole else list(masks)
            truth = [_arrays.labels(part, "masks", ignore) for part in parts]
            images = sum(len(part) for part in truth)
            wanted = sum(len(batch) for batch in batches)
            sizes = {part.shape[1:] for part in truth}
            if images != wanted or len(sizes) != 1:
                shapes = ", ".join(str(part.shape) for part in truth[:3])
                raise InputError(
                    f"masks: expected {wanted} images of one size, as there are features, got {images} ({shapes})"
                )
            assert self._grid is not None
            _arrays.patch_of(truth[0].shape[1:], self._grid, "masks")
        return inner.score(batches, truth, patch, progress_of(progress))

    @property
    def centroids(self) -> F32:
        """The centroids at unit length, ``[K, D]``."""
        return self._learned().codebook()

    @property
    def loss(self) -> float | None:
        """The mean loss of the last 100 steps, in [-1, 1]."""
        return self._learned().loss()

    @property
    def steps(self) -> int:
        """Steps taken."""
        return self._inner.steps() if self._inner is not None else 0

    @property
    def grid(self) -> Grid | None:
        """Rows and columns of patches, once they are known."""
        return self._grid

    @property
    def spread(self) -> dict[str, float | None] | None:
        """How the vectors are spread that the probe started from, how many directions they fill, and how far its
        clusters lie apart (protocol, section 14)."""
        return self._learned().spread()

    def get_params(self) -> dict[str, Any]:
        """The settings."""
        return {**self._settings, "grid": self._grid, "layout": self._layout}

    def __getstate__(self) -> dict[str, Any]:
        state = self._inner.state() if self._inner is not None else None
        return {**self.get_params(), "learned": state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        settings = dict(state)
        learned = settings.pop("learned")
        Probe.__init__(self, settings.pop("classes"), **settings)
        if learned is not None:
            self._learned().restore(learned)

    def __repr__(self) -> str:
        shown = {"classes", "clusters", "steps", "seed"}
        settings = ", ".join(f"{k}={v}" for k, v in self._settings.items() if k in shown)
        return f"Probe({settings}, grid={self._grid}): {self.steps} steps taken"

