"""What there is to say of patch vectors without labels or training, from one accumulator that is fed batch by batch."""

from __future__ import annotations

from typing import Any

from vitscope import _arrays, _vitscope
from vitscope._arrays import Grid
from vitscope._vitscope import InputError


class Artifacts:
    """Outlying channels, a common direction, the rank and the share of position of patch vectors, by the names of
    ``metrics.csv`` (protocol, sections 14 and 15).

    Sums are whole numbers, so parts of a data set merge into exactly what the whole gives, whichever batches the images
    come in. The numbers are those of ``vitscope probe`` on the same images but for its rounding in f32 (about 1e-5).

    Args:
        grid: Rows and columns of patches; read from features of four axes unless set.
        layout: As for :class:`Probe`.
    """

    def __init__(self, grid: Grid | int | None = None, *, layout: str | None = None) -> None:
        self._grid = None if grid is None else _arrays.pair(grid, "grid")
        self._layout = layout
        self._inner: _vitscope.Artifacts | None = None

    def _made(self, grid: Grid, width: int) -> _vitscope.Artifacts:
        if self._inner is None:
            self._inner = _vitscope.Artifacts(grid, width)
        known = self._inner.width()
        if known != width:
            raise InputError(f"features: expected {known} channels, as before, got {width}")
        return self._inner

    def update(self, features: Any) -> None:
        """Adds a batch of images: ``[B, N, D]``, ``[B, D, H, W]`` or ``[B, H, W, D]``, not normalized."""
        rows, grid = _arrays.features(features, self._grid, self._layout)
        if rows.shape[0]:
            self._made(grid, rows.shape[2]).update(rows)
            self._grid = grid

    def compute(self) -> dict[str, Any]:
        """``images``, and

        - ``common_direction``: mean cosine of the vectors to their mean; ``channel_top1``, ``channel_top3``,
          ``channel_top10``: share of the energy in the strongest channels; ``participation``: channels in use;
        - ``effective_rank``: directions in use;
        - ``position_share``: share of the variance that lies between places, chance taken out; ``position_r2``: what a
          linear reader finds of row and column; ``map_ramp``, ``map_low``, ``map_mid``, ``map_high``: how the mean map is
          spread over spatial orders, with ``map_high`` a pattern from patch to patch.

        What is undefined is None.
        """
        inner = self._inner
        if inner is None:
            # No image: every number is undefined, whatever the sizes.
            inner = _vitscope.Artifacts(self._grid or (1, 1), 1)
        return inner.compute()

    def merge(self, other: Artifacts) -> None:
        """Adds what another has summed, as if its images had followed."""
        if other._inner is None or other._grid is None:
            return
        if self._grid not in (None, other._grid):
            raise InputError(
                f"only measures of the same settings merge: grid is {self._grid} here and {other._grid} there"
            )
        self._made(other._grid, other._inner.width()).merge(other._inner)
        self._grid = other._grid

    def reset(self) -> None:
        """Forgets all images."""
        self._inner = None

    @property
    def images(self) -> int:
        """Images added."""
        return self._inner.images() if self._inner is not None else 0

    def __getstate__(self) -> dict[str, Any]:
        inner = self._inner
        return {
            "grid": self._grid,
            "layout": self._layout,
            "width": inner.width() if inner is not None else 0,
            "images": self.images,
            "sums": inner.state() if inner is not None else None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        Artifacts.__init__(self, state["grid"], layout=state["layout"])
        if state["sums"] is not None and self._grid is not None:
            self._made(self._grid, state["width"]).restore(state["images"], state["sums"])
