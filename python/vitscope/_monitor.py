"""A model watched while it trains: every so many steps its slots are probed on a fixed set of images."""

from __future__ import annotations

import csv
import importlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitscope import _arrays, _vitscope
from vitscope._arrays import U8
from vitscope._run import Comparison, Run, StrPath, compare
from vitscope._vitscope import InputError

# What is logged of every slot, by the names of metrics.csv.
_LOGGED = ("miou", "accuracy", "nmi", "nmi_excess", "clusters_used", "loss")


class Monitor:
    """Probes chosen slots of a model every so many training steps, on the same images each time.

    Every measurement is a run directory ``out/step-N``; ``out/series.csv`` holds one line a slot and step. Scalars go to
    ``log`` as ``vitscope/FACET/LAYER/METRIC``, pictures as ``vitscope/FACET/LAYER/labels``, with the colors of clusters
    matched to the step before. What it costs is printed.

    Args:
        data: The fixed images: batches of ``images`` or ``(images, masks)``, a ``DataLoader`` or a ``Dataset``, read once
            and kept.
        every: Steps from one measurement to the next.
        layers, facets: What is probed; layers count from 1, or back from -1.
        out: The folder of the series.
        clusters: Clusters, where there are no masks; 27 unless set.
        classes: Names or number of the classes of the masks.
        steps: Training steps of each probe.
        pictures: Images whose label maps are logged.
        log: A TensorBoard ``SummaryWriter``, a Weights & Biases run, a callable ``(scalars, step)``, or a list of them.
        forward: How the model is called, ``forward(model, images)``.
        quiet: Prints nothing.
        settings: As for :func:`vitscope.probe`: ``seed``, ``batch``, ``resamples``, ...
    """

    def __init__(
        self,
        data: Any,
        *,
        every: int,
        layers: Any = -1,
        facets: Sequence[str] | str = ("token",),
        out: StrPath = "runs/monitor",
        clusters: int | None = None,
        classes: Sequence[str] | int | None = None,
        steps: int = 200,
        pictures: int = 4,
        log: Any = (),
        forward: Callable[[Any, Any], Any] | None = None,
        quiet: bool = False,
        **settings: Any,
    ) -> None:
        if every < 1:
            raise InputError(f"every must be at least 1 step, got {every}")
        self.every = every
        self.out = Path(out)
        self.runs: list[Run] = []
        """What was measured so far, a run a step."""
        self._data = data
        self._kept: list[tuple[Any, Any]] | None = None
        self._layers, self._facets, self._forward = layers, facets, forward
        self._classes, self._pictures, self._quiet = classes, pictures, quiet
        self._log = list(log) if isinstance(log, (list, tuple)) else [log]
        self._settings = {"steps": steps, "pca_batches": 8, "resamples": 20, **settings}
        if clusters is not None:
            self._settings["clusters"] = clusters
        self._maps: dict[tuple[str, int], tuple[U8, list[int]]] = {}
        self._began: float | None = None
        self._spent = 0.0

    def begin(self) -> None:
        """Training begins: what measuring costs is a part of the time from here. The first step does the same."""
        self._began, self._spent = time.monotonic(), 0.0

    def step(self, model: Any, n: int) -> dict[str, float] | None:
        """Tells that step ``n`` was taken; measures where it is the turn, and gives the scalars then."""
        if self._began is None:
            self.begin()
        return self.measure(model, n) if n % self.every == 0 else None

    def measure(self, model: Any, n: int, *, log: Any = ()) -> dict[str, float]:
        """Measures now, and gives the scalars."""
        from vitscope._torch import probe_module

        start = time.monotonic()
        if self._began is None:
            self._began = start
        if self._kept is None:
            self._kept = _kept(self._data)
        images = sum(len(batch) for batch, _ in self._kept)
        settings = dict(self._settings)
        settings["batch"] = min(int(settings.get("batch", 24)), images)
        settings["examples"] = min(self._pictures, images)
        facets = [self._facets] if isinstance(self._facets, str) else list(self._facets)
        run = probe_module(
            model,
            _Batches(self._kept),
            out=self.out / f"step-{n:08}",
            test=None,
            layers=self._layers,
            facets=facets,
            preprocess=None,
            forward=self._forward,
            classes=self._classes,
            progress=None,
            name=f"step {n}",
            **settings,
        )
        self.runs.append(run)
        scalars: dict[str, float] = {}
        for facet, layer in run.slots:
            for metric in _LOGGED:
                found = run.metrics(metric, facet, layer, whole=True).columns()["value"]
                if found and found[0] is not None:
                    scalars[f"vitscope/{facet}/{layer}/{metric}"] = found[0]
        pictures = {f"vitscope/{f}/{n_}/labels": self._picture(run, f, n_) for f, n_ in run.selection.items()}
        self._spent += time.monotonic() - start
        share = self._spent / max(time.monotonic() - self._began, 1e-9)
        scalars["vitscope/overhead"] = share
        self._append(run, n)
        for logger in (*self._log, *(log if isinstance(log, (list, tuple)) else [log])):
            _log(logger, scalars, {k: p for k, p in pictures.items() if p is not None}, n)
        if not self._quiet:
            best = ", ".join(f"{k.removeprefix('vitscope/')} {v:.3f}" for k, v in scalars.items() if k.endswith(("miou", "nmi_excess")))
            sys.stderr.write(
                f"vitscope: step {n}: {best} ({time.monotonic() - start:.1f} s, {100 * share:.1f} % of the time so far)\n"
            )
        return scalars

    def compare(self, out: StrPath | None = None) -> Comparison:
        """All steps side by side, as a page."""
        return compare(self.runs, out or self.out / "series", labels=[run.path.name for run in self.runs])

    def _append(self, run: Run, n: int) -> None:
        file = self.out / "series.csv"
        new = not file.exists()
        with file.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            if new:
                writer.writerow(["step", "facet", "layer", "metric", "value", "low", "high"])
            for row in run.metrics(whole=True).rows():
                writer.writerow([n, *(row[k] for k in ("facet", "layer", "metric", "value", "low", "high"))])

    def _picture(self, run: Run, facet: str, layer: int) -> U8 | None:
        """Label maps of the examples side by side, in the colors that their clusters had the step before."""
        names = run.examples[: self._pictures]
        if not names:
            return None
        maps = np.stack([run.labels(name, facet, layer) for name in names])
        clusters = int(run.record["clusters"])
        colors = list(range(clusters))
        before = self._maps.get((facet, layer))
        if not run.classes and before is not None and before[0].shape == maps.shape:
            partners = _vitscope.match_clusters(maps, before[0])
            taken = [before[1][p] for p in partners if 0 <= p < len(before[1])]
            free = iter(color for color in range(clusters) if color not in taken)
            own = partners + [-1] * (clusters - len(partners))
            colors = [before[1][p] if 0 <= p < len(before[1]) else next(free) for p in own]
        self._maps[facet, layer] = (maps, colors)
        lookup = np.full((256, 3), 255, np.uint8)
        lookup[:clusters] = _palette(run, clusters)[colors]
        classes = run.class_of(facet, layer)
        if classes is not None and clusters != len(run.classes):
            # Maps of more clusters than classes hold clusters: each has the color of its class, or gray.
            lookup[:clusters] = [run.record["data"]["classes"][c]["color"] if c >= 0 else [160] * 3 for c in classes]
        return np.concatenate(list(lookup[maps]), axis=1)

    def lightning(self) -> Any:
        """A callback for Lightning's ``Trainer(callbacks=[...])``, which logs to the trainer's own loggers."""
        for name in ("lightning.pytorch", "pytorch_lightning"):
            if name in sys.modules:
                base = importlib.import_module(name).Callback
                return _lightning(self, base)
        raise InputError("lightning is not imported: import lightning first")

    def transformers(self) -> Any:
        """A callback for transformers' ``Trainer(callbacks=[...])``."""
        if "transformers" not in sys.modules:
            raise InputError("transformers is not imported: import transformers first")
        return _transformers(self, importlib.import_module("transformers").TrainerCallback)


class _Batches:
    """Batches that are kept, as a loader."""

    def __init__(self, kept: Sequence[Any]) -> None:
        self._kept = kept

    def __iter__(self) -> Any:
        return iter(self._kept)


def _kept(data: Any) -> list[tuple[Any, Any]]:
    """The fixed images, once."""
    from vitscope._torch import _loaded

    if isinstance(data, (str, Mapping)) or not isinstance(data, Iterable) and not hasattr(data, "__getitem__"):
        raise InputError(f"data must be batches of images, a Dataset or a DataLoader, got {type(data).__name__}")
    # A list of batches is no data set of single images.
    source = _Batches(data) if isinstance(data, (list, tuple)) else data
    kept = [
        (images.detach().cpu(), None if masks is None else _arrays.labels(masks, "masks"))
        for images, masks, _ in _loaded(source, "data")
    ]
    if not kept:
        raise InputError("data holds no images")
    return kept


def _palette(run: Run, clusters: int) -> U8:
    """Colors of classes; of clusters where there are none: well apart on the wheel of hues."""
    data = run.record.get("data") or {}
    given = [entry["color"] for entry in data.get("classes", [])]
    colors = np.zeros((clusters, 3), np.uint8)
    for index in range(clusters):
        hue, shade = (index * 0.618034) % 1.0, (0.95, 0.7, 0.5)[index // 12 % 3]
        wheel = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
        colors[index] = np.rint(255 * shade * (0.35 + 0.65 * np.clip(wheel, 0, 1)))
    for index, color in enumerate(given[:clusters]):
        colors[index] = color
    return colors


def _log(logger: Any, scalars: dict[str, float], pictures: dict[str, U8], n: int) -> None:
    if hasattr(logger, "add_scalar"):
        for name, value in scalars.items():
            logger.add_scalar(name, value, n)
        for name, picture in pictures.items():
            logger.add_image(name, picture, n, dataformats="HWC")
    elif hasattr(logger, "log") and "wandb" in sys.modules:
        image = importlib.import_module("wandb").Image
        logger.log({**scalars, **{name: image(p) for name, p in pictures.items()}}, step=n)
    elif callable(logger):
        logger(scalars, n)
    else:
        raise InputError(
            f"log: expected a SummaryWriter, a run of wandb or a callable, got {type(logger).__name__}"
        )


def _logged(logger: Any) -> Any:
    """A logger of Lightning, as :func:`_log` takes it."""
    experiment = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_image") or (hasattr(experiment, "log") and "wandb" in sys.modules):
        return experiment
    return lambda scalars, n: logger.log_metrics(scalars, step=n)


def _lightning(monitor: Monitor, base: Any) -> Any:
    class VitscopeCallback(base):  # type: ignore[misc]
        """Measures after every ``every`` batches, on the first process alone."""

        def on_train_start(self, *rest: Any, **named: Any) -> None:
            monitor.begin()

        def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any, **named: Any) -> None:
            n = trainer.global_step
            if trainer.is_global_zero and n > 0 and n % monitor.every == 0:
                inner = getattr(module, "model", None)
                inner = getattr(module, "backbone", inner)
                model = inner if inner is not None and hasattr(inner, "parameters") else module
                monitor.measure(model, n, log=[_logged(logger) for logger in trainer.loggers])

    return VitscopeCallback()


def _transformers(monitor: Monitor, base: Any) -> Any:
    class VitscopeCallback(base):  # type: ignore[misc]
        """Measures after every ``every`` steps, on the first process alone."""

        def on_train_begin(self, *rest: Any, **named: Any) -> None:
            monitor.begin()

        def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            if state.is_world_process_zero and state.global_step > 0:
                monitor.step(named["model"], state.global_step)

    return VitscopeCallback()
