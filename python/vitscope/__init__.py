"""An instrument that shows what a frozen Vision Transformer has learned.

>>> import vitscope as vs
>>> run = vs.probe("dinov2-s14", data="photos/", out="runs/s14")  # doctest: +SKIP
>>> run.metrics("miou")  # doctest: +SKIP

Layers count from 1; facets are ``key``, ``query``, ``value`` and ``token``. Shares (mIoU, accuracy, NMI) lie in
[0, 1], mutual information is in nats. Numbers are those of the program ``vitscope``, to the byte. torch, pandas, polars
and others are never imported unless an object of theirs is passed.
"""

from __future__ import annotations

from vitscope._artifacts import Artifacts
from vitscope._debias import Debias
from vitscope._job import probe, probe_features, probes
from vitscope._metrics import Positional, Segmentation
from vitscope._monitor import Monitor
from vitscope._probe import Probe
from vitscope._run import Comparison, Counts, Figure, Finding, Run, Table, compare, read_run, report
from vitscope._tap import Tap, tap, tokens
from vitscope._torchmetric import torchmetric
from vitscope._vitscope import DataError, InputError, Interrupted, __version__, set_threads

__all__ = [
    "Artifacts",
    "Comparison",
    "Counts",
    "DataError",
    "Debias",
    "Figure",
    "Finding",
    "InputError",
    "Interrupted",
    "Monitor",
    "Positional",
    "Probe",
    "Run",
    "Segmentation",
    "Table",
    "Tap",
    "__version__",
    "compare",
    "probe",
    "probe_features",
    "probes",
    "read_run",
    "report",
    "set_threads",
    "tap",
    "tokens",
    "torchmetric",
]
