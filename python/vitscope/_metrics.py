"""Measures over label maps that are fed batch by batch: the contract of torchmetrics, without it."""

from __future__ import annotations

from typing import Any

from vitscope import _arrays, _vitscope
from vitscope._arrays import Grid
from vitscope._vitscope import InputError


class Segmentation:
    """Segmentation quality of clusters against classes (protocol, sections 6 and 16).

    Counts are integers of single images, so parts of a data set merge into exactly what the whole gives, in the order in
    which they are merged.

    Args:
        clusters: Clusters; labels lie below.
        classes: Classes; as many as clusters unless set.
        ignore: The class of pixels without one, which count for nothing.
        matching: ``"hungarian"``, or ``"majority"``.
        resamples: Bootstrap samples behind the interval of mIoU; 0 for none.
        seed: Their seed.
    """

    def __init__(
        self,
        clusters: int,
        classes: int | None = None,
        *,
        ignore: int = 255,
        matching: str = "hungarian",
        resamples: int = 100,
        seed: int = 0,
    ) -> None:
        classes = clusters if classes is None else classes
        _check_counts(clusters=clusters, classes=classes)
        _check_resamples(resamples)
        self._ignore = ignore
        self._settings: dict[str, Any] = {
            "clusters": clusters,
            "classes": classes,
            "matching": matching,
            "resamples": resamples,
            "seed": seed,
        }
        self._inner = self._make()

    def _make(self) -> _vitscope.Segmentation:
        settings = dict(self._settings)
        return _vitscope.Segmentation(matching_word=settings.pop("matching"), **settings)

    def update(self, labels: Any, masks: Any) -> None:
        """Counts label maps beside their ground truth, both ``[B, H, W]``, 255 for no label."""
        found = _arrays.labels(labels, "labels")
        truth = _arrays.labels(masks, "masks", self._ignore)
        if found.shape != truth.shape:
            raise InputError(f"masks: expected shape {found.shape}, as labels have, got {truth.shape}")
        self._inner.update(found, truth)

    def compute(self) -> dict[str, Any]:
        """mIoU with its interval, accuracy, IoU of each class, the class of each cluster (-1 for none), the confusion.

        All shares lie in [0, 1]; what is undefined is None, and nan among ``iou``.
        """
        return self._inner.compute()

    def merge(self, other: Segmentation) -> None:
        """Adds what another has counted, as if its images had followed."""
        _check_same(self._settings, other._settings)
        self._inner.merge(other._inner)

    def reset(self) -> None:
        """Forgets all images."""
        self._inner.reset()

    @property
    def images(self) -> int:
        """Images counted."""
        return self._inner.images()

    def __getstate__(self) -> dict[str, Any]:
        rows, lengths = self._inner.state()
        return {**self._settings, "ignore": self._ignore, "rows": rows, "lengths": lengths}

    def __setstate__(self, state: dict[str, Any]) -> None:
        settings = dict(state)
        rows, lengths = settings.pop("rows"), settings.pop("lengths")
        Segmentation.__init__(self, settings.pop("clusters"), settings.pop("classes"), **settings)
        self._inner.restore(rows, lengths)


class Positional:
    """The positional effect of label maps: how much a label says of its place (protocol, section 8, Eq. 3).

    Counts are integers of single images, so parts of a data set merge into exactly what the whole gives, in the order in
    which they are merged.

    Args:
        clusters: Clusters (or classes); labels lie below, 255 is none.
        grid: Rows and columns of patches, over which null and interval are computed.
        resamples: Shifts and bootstrap samples behind null and interval; 0 for none.
        seed: Their seed.
    """

    def __init__(
        self, clusters: int, grid: Grid | int, *, resamples: int = 100, seed: int = 0
    ) -> None:
        _check_counts(clusters=clusters)
        _check_resamples(resamples)
        self._settings: dict[str, Any] = {
            "clusters": clusters,
            "grid": _arrays.pair(grid, "grid"),
            "resamples": resamples,
            "seed": seed,
        }
        self._patch: int | None = None
        self._inner: _vitscope.Positional | None = None

    def _with_patch(self, patch: int) -> _vitscope.Positional:
        if self._inner is None:
            self._patch = patch
            self._inner = _vitscope.Positional(patch=patch, **self._settings)
        if self._patch != patch:
            rows, columns = self._settings["grid"]
            known = self._patch or 0
            raise InputError(
                f"labels: expected maps of {rows * known} x {columns * known} pixels, as before,"
                f" got {rows * patch} x {columns * patch}"
            )
        return self._inner

    def update(self, labels: Any) -> None:
        """Counts label maps ``[B, H, W]``; every map has the same square patches of whole pixels."""
        maps = _arrays.labels(labels, "labels")
        patch = _arrays.patch_of(maps.shape[1:], self._settings["grid"], "labels")
        self._with_patch(patch).update(maps)

    def compute(self) -> dict[str, Any]:
        """``nmi`` in [0, 1], ``mi`` in nats, and beyond chance: ``nmi_excess`` with its interval, ``nmi_null``, ``nmi_z``.

        What is undefined is None.
        """
        inner = self._inner
        if inner is None:
            # No image: every number is undefined, whatever the patch.
            inner = _vitscope.Positional(patch=1, **self._settings)
        return inner.compute()

    def merge(self, other: Positional) -> None:
        """Adds what another has counted, as if its images had followed."""
        _check_same(self._settings, other._settings)
        if other._inner is not None and other._patch is not None:
            self._with_patch(other._patch).merge(other._inner)

    def reset(self) -> None:
        """Forgets all images."""
        self._inner, self._patch = None, None

    @property
    def images(self) -> int:
        """Images counted."""
        return self._inner.images() if self._inner is not None else 0

    def __getstate__(self) -> dict[str, Any]:
        counted = self._inner.state() if self._inner is not None else None
        return {**self._settings, "patch": self._patch, "counted": counted}

    def __setstate__(self, state: dict[str, Any]) -> None:
        settings = dict(state)
        counted, patch = settings.pop("counted"), settings.pop("patch")
        Positional.__init__(self, settings.pop("clusters"), settings.pop("grid"), **settings)
        if counted is not None:
            self._with_patch(patch).restore(**counted)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if not 1 <= count <= 255:
            raise InputError(f"{name} must lie in 1..=255, got {count}")


def _check_resamples(resamples: int) -> None:
    if resamples < 0 or resamples == 1:
        raise InputError(
            f"resamples must be 0 or at least 2, since one sample has no spread, got {resamples}"
        )


def _check_same(own: dict[str, Any], other: dict[str, Any]) -> None:
    for name, value in own.items():
        if other.get(name) != value:
            raise InputError(
                f"only measures of the same settings merge: {name} is {value} here and {other.get(name)} there"
            )
