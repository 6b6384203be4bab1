"""Measures as torchmetrics has them, where torchmetrics is installed."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from vitscope._artifacts import Artifacts
from vitscope._metrics import Positional, Segmentation
from vitscope._vitscope import InputError

# Bytes of the length before each stored part.
_HEAD = 8


def torchmetric(measure: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    """A measure as a ``torchmetrics.Metric``: ``update``, ``compute``, ``reset``, synchronized over processes.

    What each process has counted is gathered and merged in the order of ranks, so that the numbers are exactly those of
    one process that saw the images of rank 0, then those of rank 1, and so on.

    Args:
        measure: :class:`Positional`, :class:`Segmentation` or :class:`Artifacts`.
        args, settings: Its own arguments.

    >>> t = torchmetric(Positional, clusters=27, grid=(20, 20))  # doctest: +SKIP
    """
    if measure not in (Positional, Segmentation, Artifacts):
        raise InputError("measure must be Positional, Segmentation or Artifacts")
    # Settings are checked now, not when the first batch comes.
    measure(*args, **settings)
    try:
        torch, base = importlib.import_module("torch"), importlib.import_module("torchmetrics").Metric
    except ImportError as error:
        raise InputError("torchmetrics is not installed: pip install torchmetrics, or use the measure itself") from error
    return _wrapped(torch, base)(measure, args, settings)


def _wrapped(torch: Any, base: Any) -> Any:
    class VitscopeMetric(base):  # type: ignore[misc]
        """What was counted, as bytes: parts one after the other, each behind its length."""

        full_state_update = False
        is_differentiable = False
        parts: Any

        def __init__(self, measure: Any, args: Any, settings: Any) -> None:
            super().__init__()
            self._measure, self._args, self._settings = measure, args, settings
            # Sums do not grow with the images, so that parts are merged at once; counts of single images do.
            self._fixed = measure is Artifacts
            self.add_state("parts", default=[], dist_reduce_fx="cat")

        def _make(self) -> Any:
            return self._measure(*self._args, **self._settings)

        def update(self, *batch: Any) -> None:
            """Counts a batch, as the measure does."""
            part = self._make()
            part.update(*batch)
            if self._fixed and self.parts:
                whole = self._merged()
                whole.merge(part)
                self.parts, part = [], whole
            stored = pickle.dumps(part)
            head = len(stored).to_bytes(_HEAD, "little")
            values = np.frombuffer(head + stored, np.uint8).copy()
            self.parts.append(torch.from_numpy(values).to(self.device))

        def compute(self) -> dict[str, Any]:
            """The numbers of all that was counted, on all processes."""
            return dict(self._merged().compute())

        def _merged(self) -> Any:
            whole = self._make()
            parts = self.parts if isinstance(self.parts, list) else [self.parts]
            for tensor in parts:
                stored = tensor.cpu().numpy().tobytes()
                while stored:
                    end = _HEAD + int.from_bytes(stored[:_HEAD], "little")
                    whole.merge(pickle.loads(stored[_HEAD:end]))
                    stored = stored[end:]
            return whole

    return VitscopeMetric
