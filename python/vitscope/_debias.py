"""Position taken out of patch vectors: what ``vitscope probe --transform`` does, over arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vitscope import _arrays, _vitscope
from vitscope._arrays import F32, Grid
from vitscope._run import Run, StrPath
from vitscope._vitscope import InputError


class Debias:
    """Takes position, or as a control something else, out of patch vectors (protocol, section 15).

    Vectors are scaled to unit length; then ``"center"`` takes out their mean, ``"mean"`` every place's own mean but for the
    common one, ``"svd:R"`` the R directions in which places differ most, ``"leace:F"`` what linear readers find of place,
    ``"rasa:T"`` T rounds of readers of row and column, ``"blank:R"`` directions of a black image, ``"standardize"`` the
    channels' scale; ``"random:R"`` and ``"content:R"`` are the controls of equal rank.

    Args:
        transform: One of them.
        grid: Rows and columns of patches; read from features of four axes unless set.
        layout: As for :class:`Probe`.
        seed: Of ``random``.
    """

    def __init__(
        self,
        transform: str,
        *,
        grid: Grid | int | None = None,
        layout: str | None = None,
        seed: int = 0,
    ) -> None:
        # Checked now, not when the first features come.
        _vitscope.Transform(transform, (1, 1), seed)
        self._kind, self._layout, self._seed = transform, layout, seed
        self._grid = None if grid is None else _arrays.pair(grid, "grid")
        self._width = 0
        self._inner: _vitscope.Transform | None = None

    def _rows(self, features: Any, what: str = "features") -> F32:
        rows, self._grid = _arrays.features(features, self._grid, self._layout, what)
        return rows

    def update(self, features: Any) -> Debias:
        """Adds a batch of training images to what is fitted to."""
        rows = self._rows(features)
        if self._inner is None:
            assert self._grid is not None
            self._inner = _vitscope.Transform(self._kind, self._grid, self._seed)
        self._inner.update(rows)
        self._width = rows.shape[2]
        return self

    def fit(self, features: Any, *, blank: Any = None) -> Debias:
        """Fits to training images, one array or batches of them, in place of what was added before.

        Args:
            features: The training images.
            blank: The features of one black image, for ``"blank:R"``.
        """
        self._inner = None
        whole = hasattr(features, "shape") or hasattr(features, "__dlpack__")
        if not whole and not isinstance(features, Iterable):
            raise InputError(f"features must be an array or batches of them, got {type(features).__name__}")
        for batch in [features] if whole else features:
            self.update(batch)
        return self.finish(blank=blank)

    def finish(self, *, blank: Any = None) -> Debias:
        """Fits to what was added with :meth:`update`."""
        if self._inner is None:
            raise InputError("there are no features to fit to: call update, or fit")
        black = None if blank is None else self._rows(blank, "blank")
        self._inner.finish(black)
        return self

    def transform(self, features: Any) -> F32:
        """The edited vectors, ``[B, N, D]``."""
        rows = self._rows(features)
        return self._fitted().apply(rows)

    def fit_transform(self, features: Any, *, blank: Any = None) -> F32:
        """:meth:`fit`, then :meth:`transform` on the same array."""
        return self.fit(features, blank=blank).transform(features)

    @property
    def numbers(self) -> dict[str, float | None]:
        """What the fit says of position, by the names of ``metrics.csv``: ``position_r2``, ``variance_removed``, ..."""
        return self._fitted().numbers()

    @property
    def removed(self) -> F32:
        """How much is taken out of the mean at each place, ``[Hp, Wp]``."""
        return self._fitted().removed()

    @classmethod
    def from_run(cls, run: Run | StrPath, facet: str, layer: int) -> Debias:
        """The transform of a slot as a run has stored it, which was made with ``transform=``."""
        opened = run if isinstance(run, Run) else Run(run)
        inner = _vitscope.Transform("center", (1, 1), 0)
        width = opened.centroids(facet, layer).shape[1]
        inner.take(opened.path, f"{facet}.{layer}", width)
        found = cls(inner.kind(), grid=inner.grid())
        found._inner, found._width = inner, width
        return found

    def _fitted(self) -> _vitscope.Transform:
        if self._inner is None:
            raise InputError("nothing is fitted yet: call fit")
        return self._inner

    def __getstate__(self) -> dict[str, Any]:
        fitted = self._inner.state() if self._inner is not None else None
        return {
            "transform": self._kind,
            "grid": self._grid,
            "layout": self._layout,
            "seed": self._seed,
            "width": self._width,
            "fitted": fitted,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        settings = dict(state)
        width, fitted = settings.pop("width"), settings.pop("fitted")
        Debias.__init__(self, settings.pop("transform"), **settings)
        if fitted is not None and self._grid is not None:
            self._inner = _vitscope.Transform(self._kind, self._grid, self._seed)
            self._inner.restore(width, **fitted)
            self._width = width

    def __repr__(self) -> str:
        return f"Debias({self._kind!r}, grid={self._grid})"
