"""The main job: what the command ``vitscope probe`` does, on a checkpoint, on arrays or on a model of torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vitscope import _arrays, _vitscope
from vitscope._progress import Progress, progress_of
from vitscope._run import Run, StrPath
from vitscope._spool import Features, Spool
from vitscope._vitscope import InputError

# What settles what a checkpoint leaves open; everything else is a setting of the run.
_SETTLES = ("family", "heads", "backbone", "mean", "std", "name", "numerics", "dtype", "device", "layout")


def _text(value: Any) -> str:
    """A value as it would be typed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(_text(part) for part in value)
    return str(value)


def _check_transform(settings: dict[str, Any]) -> None:
    if callable(settings.get("transform")):
        raise InputError(
            "transform takes 'mean', 'svd:8' and the like, edits of the patch vectors; what makes the model's input of a crop"
            " is preprocess"
        )


def _several(model: object, features: StrPath | None) -> None:
    if features is not None and model is not None:
        raise InputError("give a model or features, not both")
    if features is None and model is None:
        raise InputError("give a model, or features with features=DIR")


def probe(
    model: Any = None,
    data: Any = None,
    *,
    features: StrPath | None = None,
    out: StrPath | None = None,
    test: Any = None,
    layers: Any = "all",
    facets: Sequence[str] | str = ("key", "query", "value", "token"),
    preprocess: Callable[[Any], Any] | None = None,
    forward: Callable[[Any, Any], Any] | None = None,
    classes: Sequence[str] | int | None = None,
    resume: bool = False,
    progress: Progress | bool | None = None,
    **settings: Any,
) -> Run:
    """Probes every chosen slot of a model on a data set and writes a run directory.

    A model by its name or path is run by the program, to the bytes of ``vitscope probe``; a model of torch is run by
    torch, where it lies (a GPU, say), and its facets are probed.

    Args:
        model: A checkpoint (file, folder, short name, Hugging Face id), or an ``nn.Module``: a ViT of timm, transformers,
            open_clip or torch.hub.
        data: ``"kind:root"``, a directory or a TOML description. For a model of torch also a ``Dataset`` or a
            ``DataLoader`` of ``image``, ``(image, mask)`` or a dictionary of ``image`` and ``mask``.
        features: A feature directory in place of the model.
        out: The run directory; ``runs/MODEL-DATA`` unless set.
        test: Test images, where ``data`` is a ``Dataset`` or a ``DataLoader``; the same images unless set.
        layers: ``"all"``, ``"last"``, a number from 1, or a list of them.
        facets: Any of key, query, value, token.
        preprocess: For a model of torch on a data set by name: makes the model's input of a crop ``[S, S, 3]`` of bytes,
            in place of scaling by ``mean`` and ``std``.
        forward: For a model of torch: how it is called, ``forward(model, images)``.
        classes: Names or number of the classes of a ``Dataset``'s masks.
        resume: Continues a run that was stopped, to the bytes of an unbroken one.
        progress: Called with ``(done, total, text)``; True for a bar.
        settings: As the command's flags: ``size``, ``steps``, ``batch``, ``seed``, ``limit_train``, ``transform``, ... , and what settles
            what a checkpoint leaves open: ``family``, ``heads``, ``mean``, ``std``, ``device``, ``dtype``, ...
    """
    _check_transform(settings)
    if _arrays.of_torch(model):
        from vitscope._torch import probe_module

        if resume:
            raise InputError("resume: a model of torch is run anew; resume goes on with a model by name")
        if features is not None:
            raise InputError("give a model or features, not both")
        return probe_module(
            model,
            data,
            out=out,
            test=test,
            layers=layers,
            facets=[facets] if isinstance(facets, str) else list(facets),
            preprocess=preprocess,
            forward=forward,
            classes=classes,
            progress=progress,
            **settings,
        )
    for name, value in (("preprocess", preprocess), ("forward", forward), ("test", test)):
        if value is not None:
            raise InputError(f"{name} is for a model of torch; {model!r} is run by the program")
    runs = probes(
        model,
        data,
        features=features,
        out=out,
        layers=layers,
        facets=facets,
        resume=resume,
        progress=progress,
        **settings,
    )
    if len(runs) != 1:
        raise InputError(f"these settings made {len(runs)} runs: call probes, which gives all of them")
    return runs[0]


def probes(
    model: StrPath | None = None,
    data: Any = None,
    *,
    features: StrPath | None = None,
    out: StrPath | None = None,
    layers: Any = "all",
    facets: Sequence[str] | str = ("key", "query", "value", "token"),
    seeds: int | None = None,
    resume: bool = False,
    progress: Progress | bool | None = None,
    **settings: Any,
) -> list[Run]:
    """:func:`probe` with several values of a setting, each a run of its own: ``batch=[24, 32]``, ``seeds=5``."""
    _several(model, features)
    if model is not None and not isinstance(model, (str, os.PathLike)):
        raise InputError(
            f"model must be a name, a path or an nn.Module of torch, got {type(model).__name__}"
        )
    if not isinstance(data, (str, os.PathLike)):
        raise InputError(f"data must be 'kind:root', a directory or a TOML file, got {type(data).__name__}")
    settled = {name: _text(settings.pop(name)) for name in _SETTLES if settings.get(name) is not None}
    typed = [("layers", _text(layers)), ("facets", _text(facets))]
    typed += [(name, _text(value)) for name, value in settings.items() if value is not None]
    made = _vitscope.probe(
        None if model is None else os.fspath(model),
        features,
        os.fspath(data),
        out,
        typed,
        settled,
        seeds,
        resume,
        progress_of(progress),
    )
    return [Run(path) for path in made]


def probe_features(
    train: Any,
    test: Any = None,
    *,
    data: StrPath | None = None,
    out: StrPath,
    classes: Sequence[str] | int | None = None,
    ignore: int = 255,
    grid: tuple[int, int] | int | None = None,
    layout: str | None = None,
    facet: str = "token",
    layer: int = 1,
    patch: int | None = None,
    model: str = "features",
    progress: Progress | bool | None = None,
    **settings: Any,
) -> Run:
    """Probes features that are there already and writes a run directory, to the bytes of ``vitscope probe --features``.

    A split is an array of features, or batches; a batch is ``features``, ``(features, masks)`` or ``(features, masks,
    images)``, and features are one array, of ``facet`` and ``layer``, or a dictionary ``{(layer, facet): array}``. Masks are
    ``[B, H, W]``, images ``[B, H, W, 3]`` bytes, of as many pixels as the masks.

    Args:
        train: The training images' features. Their masks are not needed.
        test: The test images'; the training images are tested unless set.
        data: The data set that the features are of, in its order, in place of masks and images.
        out: The run directory.
        classes: Names or number of the classes; one above the largest of the masks unless set.
        ignore: The class of pixels without one.
        grid, layout: As for :class:`Probe`.
        patch: Pixels along a patch, where there are neither masks nor images; 16 unless set.
        model: What the model is called in tables and captions.
        progress: Called with ``(done, total, text)``; True for a bar.
        settings: As the command's flags.
    """
    shape = None if grid is None else _arrays.pair(grid, "grid")
    reading = Features(grid=shape, layout=layout, slot=(layer, facet), ignore=ignore)
    with Spool(Path(out), model=model, patch=patch, own_data=data is None) as spool:
        spool.write("train", train, reading)
        if test is not None:
            spool.write("test", test, reading)
        else:
            spool.same()
        spool.finish(classes)
        source = spool.data if data is None else os.fspath(data)
        return probe(features=spool.features, data=source, out=out, progress=progress, **settings)
