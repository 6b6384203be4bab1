"""Run directories: numbers, arrays and pictures of what a command or a call has written."""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vitscope import _vitscope
from vitscope._arrays import F32, U8
from vitscope._vitscope import DataError, InputError

StrPath = str | os.PathLike[str]

FACETS = ("key", "query", "value", "token")


class Table:
    """Rows of ``metrics.csv``. ``polars.DataFrame(table)``, ``pyarrow.table(table)`` and
    ``pandas.DataFrame.from_arrow(table)`` read it, without a copy of numbers."""

    def __init__(self, inner: _vitscope.Metrics) -> None:
        self._inner = inner

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._inner.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return len(self._inner)

    def columns(self) -> dict[str, list[Any]]:
        """Every column by its name, as lists: text, layers as whole numbers, None for what is empty."""
        texts = self._inner.texts()
        numbers = self._inner.numbers()
        columns: dict[str, list[Any]] = {
            name: [text or None for text in texts[name]]
            for name in ("model", "family", "size", "layer", "facet", "metric", "class")
        }
        columns["layer"] = [int(layer) if layer else None for layer in texts["layer"]]
        for at, name in enumerate(("value", "low", "high")):
            columns[name] = [row[at] for row in numbers]
        return columns

    def rows(self) -> list[dict[str, Any]]:
        """Every row as a dictionary."""
        columns = self.columns()
        return [dict(zip(columns, row)) for row in zip(*columns.values())]

    def __repr__(self) -> str:
        return f"Table of {len(self)} numbers"

    def _repr_html_(self) -> str:
        names = ("facet", "layer", "metric", "class", "value", "low", "high")
        shown = self.rows()[:200]
        body = [[_cell(row[name]) for name in names] for row in shown]
        more = f"<p>... {len(self) - 200} more rows</p>" if len(self) > 200 else ""
        return _html_table(names, body) + more


class Counts(NamedTuple):
    """What was counted of a slot: integers, on which every number rests."""

    confusion: npt.NDArray[np.int64] | None
    """``[K, C]`` pixels of cluster k and class c; None without ground truth."""
    position: npt.NDArray[np.uint32] | None
    """``[K, Hp, Wp]`` pixels of cluster k in each patch (``[K, H, W]`` images, where the run kept every pixel)."""


class Finding(NamedTuple):
    """A measure of a slot that tells of artifacts (protocol, sections 14 and 17)."""

    slot: str
    """Such as ``key.9``."""
    measure: str
    """The number's name in ``metrics.csv``."""
    value: float
    """The number."""
    null: float
    """What it would be where nothing is wrong."""
    health: str
    """``"ok"``, ``"look"`` or ``"broken"``."""
    next: str | None
    """What to do next, where it is not ok."""


class Figure(str):
    """A figure of a run as the text of its SVG, which notebooks show."""

    def _repr_svg_(self) -> str:
        return str(self)


class Comparison(NamedTuple):
    """Runs side by side, as they were written."""

    path: Path
    """The folder."""
    page: Path
    """The page."""
    notes: list[str]
    """What could not be set side by side, and why."""

    @property
    def figures(self) -> list[str]:
        """The names of its figures."""
        return _figures(self.path)

    def figure(self, name: str) -> Figure:
        """A figure by its name, as SVG."""
        return _figure(self.path, name)

    def _repr_html_(self) -> str:
        order = ("overview", "best", "miou")
        names = sorted(self.figures, key=lambda name: [not name.startswith(word) for word in order])
        pictures = [_picture(self.path, name) for name in names[:2]]
        return f"<p><code>{html.escape(str(self.page))}</code></p>" + "".join(pictures)


class Run:
    """A run directory. In a notebook it shows its table, its examples and its aggregate maps."""

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        inner, record = _vitscope.read(self.path)
        self._metrics = inner
        self.record: dict[str, Any] = json.loads(record)
        """``run.json``: what was run, with which settings, on which machine."""

    def metrics(
        self,
        metric: str | None = None,
        facet: str | None = None,
        layer: int | None = None,
        *,
        whole: bool = False,
    ) -> Table:
        """The numbers of ``metrics.csv``, all of them or those asked for.

        Args:
            metric: One number, such as ``"miou"``.
            facet: One facet, or ``"ground_truth"``.
            layer: One layer, from 1.
            whole: Only those of the whole, none of single classes, clusters or heads.
        """
        return Table(self._metrics.select(metric, facet, layer, "" if whole else None))

    def value(self, metric: str, facet: str = "ground_truth", layer: int | None = None) -> float | None:
        """One number of the whole; None where it is undefined."""
        found = self._metrics.select(metric, facet, layer, "").numbers()
        if len(found) != 1:
            where = facet if layer is None else f"{facet}.{layer}"
            raise InputError(f"{self.path}: has {len(found)} rows of {metric} of {where}, expected one")
        return found[0][0]

    @property
    def slots(self) -> list[tuple[str, int]]:
        """Facets and layers that were measured."""
        texts = self._metrics.texts()
        pairs = zip(texts["facet"], texts["layer"])
        return list(dict.fromkeys((f, int(n)) for f, n in pairs if f in FACETS and n))

    @property
    def selection(self) -> dict[str, int]:
        """The layer at which each facet is shown."""
        return dict(self.record.get("selection") or {})

    @property
    def examples(self) -> list[str]:
        """The images whose crops and label maps the run kept."""
        return list(self.record.get("examples") or [])

    @property
    def classes(self) -> list[str]:
        """The names of the classes; none without ground truth."""
        data = self.record.get("data") or {}
        return [entry["name"] for entry in data.get("classes", [])]

    def counts(self, facet: str, layer: int | None = None) -> Counts:
        """Confusion and positions of a slot, or the positions of ``"ground_truth"``."""
        subject = self._subject(facet, layer)
        file = self.path / "counts.safetensors"
        counts = Counts(
            _vitscope.tensor(file, f"confusion.{subject}"), _vitscope.tensor(file, f"position.{subject}")
        )
        if counts.confusion is None and counts.position is None:
            raise self._lacks(file, subject)
        return counts

    def centroids(self, facet: str, layer: int) -> F32:
        """The centroids of a slot at unit length, ``[K, D]``."""
        subject = self._subject(facet, layer)
        file = self.path / "codebooks.safetensors"
        found = _vitscope.tensor(file, subject)
        if found is None:
            raise self._lacks(file, subject)
        return found

    def class_of(self, facet: str, layer: int) -> npt.NDArray[np.int64] | None:
        """The class of each cluster of a slot, -1 for none; None without ground truth."""
        subject = self._subject(facet, layer)
        return _vitscope.tensor(self.path / "codebooks.safetensors", f"match.{subject}")

    def labels(self, image: str, facet: str = "ground_truth", layer: int | None = None) -> U8:
        """A label map that the run kept, ``[H, W]``, 255 for none.

        Args:
            image: Its name, one of :attr:`examples`.
            facet: A facet, or ``"ground_truth"``.
            layer: The facet's layer.
        """
        subject = self._subject(facet, layer)
        found = _vitscope.label_map(self.path, subject, image)
        if found is None:
            raise InputError(
                f"{self.path}: kept no label map of {image} and {subject}: choose one of `examples` at a layer of"
                " `selection`, or run with save_labels='all'"
            )
        return found

    @property
    def figures(self) -> list[str]:
        """The names of its figures."""
        return _figures(self.path)

    def figure(self, name: str) -> Figure:
        """A figure by its name, as SVG."""
        return _figure(self.path, name)

    @property
    def page(self) -> Path:
        """The self-contained page."""
        return self.path / "report.html"

    def artifacts(self) -> list[Finding]:
        """What is odd about the embeddings of every slot, as ``vitscope artifacts`` says."""
        return [Finding(*found) for found in _vitscope.artifacts(self.path)]

    def verdict(self) -> str:
        """What the run says, in sentences."""
        return _vitscope.verdict(self.path)

    def _subject(self, facet: str, layer: int | None) -> str:
        if facet == "ground_truth" and layer is None:
            return facet
        if facet not in FACETS or layer is None or layer < 1:
            raise InputError(
                f"facet {facet!r} and layer {layer}: expected one of {', '.join(FACETS)} and a layer from 1"
            )
        return f"{facet}.{layer}"

    def _lacks(self, file: Path, subject: str) -> InputError:
        slots = ", ".join(f"{facet}.{layer}" for facet, layer in self.slots)
        return InputError(f"{file}: holds nothing of {subject}; the run has {slots or 'no slots yet'}")

    def __repr__(self) -> str:
        model, data = self.record.get("model") or {}, self.record.get("data") or {}
        what = self.record.get("kind", "probe")
        return (
            f"Run({str(self.path)!r}): {what} of {model.get('name', '?')} on {data.get('kind', '?')},"
            f" {self.record.get('state', '?')}"
        )

    def _repr_html_(self) -> str:
        names = ("facet", "layer", "mIoU", "accuracy", "NMI", "beyond chance")
        body = []
        for facet in FACETS:
            layer = self.selection.get(facet)
            if layer is None:
                continue
            numbers = [
                _number(self._metrics.select(metric, facet, layer, "").numbers())
                for metric in ("miou", "accuracy", "nmi", "nmi_excess")
            ]
            body.append([facet, str(layer), *numbers])
        table = _html_table(names, body) if body else ""
        shown = [name for name in ("examples", "aggregate") if name in self.figures]
        pictures = "".join(_picture(self.path, name) for name in shown or self.figures[:1])
        return f"<p>{html.escape(repr(self))}</p>{table}{pictures}"

    def _repr_png_(self) -> bytes | None:
        for name in ("examples", "aggregate", *self.figures):
            file = self.path / "figures" / f"{name}.png"
            if file.exists():
                return file.read_bytes()
        return None


def read_run(path: StrPath) -> Run:
    """A run directory that ``probe``, ``attention`` or ``correspond`` has written, also while it is going."""
    return Run(path)


def report(
    run: Run | StrPath,
    *,
    images: str | Sequence[str] = (),
    label: str | None = None,
    caption: bool = True,
    letters: bool = False,
) -> Path:
    """Draws figures and page of a run again from what it has stored, and gives the page.

    Args:
        run: A run or its directory.
        images: Which of the stored examples to show: names, ``"random:SEED"`` or ``"class:C"``.
        label: What the run is called in figures and page.
        caption: Whether captions stand in the figures, or in files beside them.
        letters: Whether panels have letters.
    """
    return Path(_vitscope.report(_path(run), _words(images), label, caption, letters))


def compare(
    runs: Sequence[Run | StrPath],
    out: StrPath,
    *,
    select: str = "best-miou",
    images: str | Sequence[str] = (),
    paper: bool = False,
    labels: Sequence[str] = (),
) -> Comparison:
    """Sets finished runs of any kind side by side: tables, figures and a page in ``out``.

    Args:
        runs: Runs or their directories.
        out: The folder.
        select: The layer at which each facet is shown: ``"best-miou"``, ``"layer:N"`` or ``"last"``.
        images: Which of the stored examples to show.
        paper: Whether the paper's numbers stand beside those of the same model and data set.
        labels: What the runs are called, in their order.
    """
    if isinstance(runs, (str, os.PathLike, Run)):
        raise InputError("runs must be a list of runs: compare([a, b], out)")
    page, notes = _vitscope.compare(
        [_path(run) for run in runs], out, select, _words(images), paper, list(labels)
    )
    return Comparison(Path(out), Path(page), notes)


def _path(run: Run | StrPath) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


def _words(images: str | Sequence[str]) -> list[str]:
    return [images] if isinstance(images, str) else list(images)


def _figures(path: Path) -> list[str]:
    return sorted(file.stem for file in (path / "figures").glob("*.svg"))


def _figure(path: Path, name: str) -> Figure:
    file = path / "figures" / f"{name}.svg"
    if not file.exists():
        names = ", ".join(_figures(path)) or "none yet"
        raise InputError(f"{path}: has no figure {name!r}; it has {names}")
    try:
        return Figure(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file}: cannot read: {error}") from error


def _picture(path: Path, name: str) -> str:
    file = path / "figures" / f"{name}.png"
    if not file.exists():
        return ""
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    alt = html.escape(name)
    return f'<img alt="{alt}" style="max-width:100%" src="data:image/png;base64,{data}">'


def _number(found: list[tuple[float | None, float | None, float | None]]) -> str:
    if len(found) != 1 or found[0][0] is None:
        return "undefined"
    value, low, high = found[0]
    interval = f" [{low:.4f}, {high:.4f}]" if low is not None and high is not None else ""
    return f"{value:.4f}{interval}"


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _html_table(names: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
