"""The main job on a model of torch: its facets are written to disk once, and the program probes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitscope import _arrays, _job, _vitscope
from vitscope._progress import Progress, progress_of
from vitscope._run import Run, StrPath
from vitscope._spool import Features, Spool
from vitscope._tap import Tap, patch_conv, tap
from vitscope._vitscope import InputError

# Images that go through the model together.
_BATCH = 16


def probe_module(
    model: Any,
    data: Any,
    *,
    out: StrPath | None,
    test: Any,
    layers: Any,
    facets: Sequence[str],
    preprocess: Callable[[Any], Any] | None,
    forward: Callable[[Any, Any], Any] | None,
    classes: Sequence[str] | int | None,
    progress: Progress | bool | None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | None = None,
    name: str | None = None,
    rope: str = "before",
    token_norm: str = "after",
    prefix: int | None = None,
    ignore: int = 255,
    **settings: Any,
) -> Run:
    """:func:`vitscope.probe` on an ``nn.Module``."""
    listener = tap(
        model, layers, facets, rope=rope, token_norm=token_norm, prefix=prefix
    )
    name = name or _name(model)
    told = progress_of(progress)
    if out is None:
        out = Path("runs") / name
    reading = Features(grid=None, layout="NLC", slot=(1, "token"), ignore=ignore)
    by_name = isinstance(data, (str, os.PathLike))
    patch = _patch(model)
    with Spool(Path(out), model=name, patch=patch, own_data=not by_name) as spool:
        if by_name:
            images = _vitscope.Images(os.fspath(data), size or _size(model), patch)
            scale = None if preprocess is not None else _scale(model, mean, std)
            for split in ("train", "test"):
                count = images.count(split)
                limit = min(count, settings.get(f"limit_{split}") or count)
                crops = _crops(images, split, limit, preprocess, scale)
                batches = _facets(listener, model, crops, forward, reading, told, limit)
                spool.write(split, _filled(batches, count - limit), reading)
            spool.depth(listener.depth)
            spool.finish(None)
            source = os.fspath(data)
        else:
            if preprocess is not None or mean is not None or std is not None or size is not None:
                raise InputError(
                    "preprocess, mean, std and size are for a data set by name: a Dataset gives images as the model takes them"
                )
            train = _facets(listener, model, _loaded(data, "data"), forward, reading, told, None)
            spool.write("train", train, reading)
            if test is None:
                spool.same()
            else:
                given = _facets(listener, model, _loaded(test, "test"), forward, reading, told, None)
                spool.write("test", given, reading)
            spool.depth(listener.depth)
            spool.finish(classes)
            source = spool.data
        return _job.probe(
            features=spool.features,
            data=source,
            out=out,
            facets=facets,
            layers=listener.layers,
            progress=told,
            **settings,
        )


def _name(model: Any) -> str:
    """What a model is called: timm's architecture, transformers' id, or its class."""
    config = getattr(model, "pretrained_cfg", None) or {}
    known = config.get("architecture") if isinstance(config, Mapping) else None
    path = getattr(getattr(model, "config", None), "_name_or_path", None)
    return str(known or path or type(model).__name__).replace("/", "-")


def _patch(model: Any) -> int:
    conv = patch_conv(model)
    if conv is None:
        raise InputError(
            f"{type(model).__name__} has no convolution that cuts patches: tap it with prefix=..., and pass the features to"
            " probe_features"
        )
    return int(conv.kernel_size[0])


def _size(model: Any) -> int:
    """The crop that a model takes: what it was made for where it takes nothing else, else the program's 320."""
    embed = getattr(model, "patch_embed", None)
    side = getattr(embed, "img_size", None)
    if side is not None and getattr(embed, "strict_img_size", False) and not getattr(model, "dynamic_img_size", False):
        return int(side[0])
    return 320


def _scale(
    model: Any, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Any, Any]:
    """Mean and standard deviation of the model's images, ``[3, 1, 1]``."""
    config = getattr(model, "pretrained_cfg", None)
    if isinstance(config, Mapping):
        mean, std = mean or config.get("mean"), std or config.get("std")
    if mean is None or std is None:
        raise InputError(
            f"{type(model).__name__} does not say how its images are scaled: give mean=(r, g, b) and std=(r, g, b) of 0 to 1,"
            " or preprocess"
        )
    shaped = [np.asarray(values, np.float32).reshape(3, 1, 1) for values in (mean, std)]
    return shaped[0], shaped[1]


def _crops(
    images: _vitscope.Images,
    split: str,
    count: int,
    preprocess: Callable[[Any], Any] | None,
    scale: tuple[Any, Any] | None,
) -> Iterator[tuple[Any, Any, Any]]:
    """The model's inputs for the first crops of a data set by name."""
    torch = _tap_torch()
    for start in range(0, count, _BATCH):
        indices = list(range(start, min(start + _BATCH, count)))
        pixels, _ = images.read(split, indices, False)
        if preprocess is not None:
            batch = torch.stack([torch.as_tensor(preprocess(crop)) for crop in pixels])
        else:
            assert scale is not None
            levels = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
            batch = torch.from_numpy((levels - scale[0]) / scale[1])
        yield batch, None, None


def _loaded(data: Any, what: str) -> Iterator[tuple[Any, Any, Any]]:
    """Batches of a ``DataLoader``, or of a ``Dataset`` in its order: images, masks, pictures."""
    torch = _tap_torch()
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not _is_loader(data):
        items = (data[index] for index in range(len(data)))
        source: Any = _batched(items)
    elif hasattr(data, "__iter__"):
        source = data
    else:
        raise InputError(
            f"{what} must be 'kind:root', a directory, a Dataset or a DataLoader, got {type(data).__name__}"
        )
    for batch in source:
        images, masks = _parts(batch, what)
        images = torch.as_tensor(images)
        if images.dim() != 4 or images.shape[1] != 3:
            raise InputError(f"{what}: expected images [B, 3, H, W], got shape {tuple(images.shape)}")
        yield images, masks, images


def _is_loader(data: Any) -> bool:
    return hasattr(data, "__iter__") and hasattr(data, "batch_size")


def _parts(batch: Any, what: str) -> tuple[Any, Any]:
    """Image and mask of a batch or an item."""
    if isinstance(batch, Mapping):
        image = batch.get("image", batch.get("pixel_values", batch.get("images")))
        mask = batch.get("mask", batch.get("labels", batch.get("masks")))
        if image is None:
            raise InputError(f"{what}: a dictionary has no 'image', but {', '.join(map(str, batch))}")
        return image, mask
    if isinstance(batch, (tuple, list)):
        if len(batch) not in (1, 2):
            raise InputError(f"{what}: expected (image, mask), got {len(batch)} parts")
        return batch[0], batch[1] if len(batch) == 2 else None
    return batch, None


def _batched(items: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    torch = _tap_torch()
    held: list[tuple[Any, Any]] = []

    def flush() -> tuple[Any, Any]:
        images = torch.stack([torch.as_tensor(image) for image, _ in held])
        masks = [mask for _, mask in held if mask is not None]
        if masks and len(masks) != len(held):
            raise InputError("some items have a mask and others none: give all of them one")
        stacked = torch.stack([torch.as_tensor(mask) for mask in masks]) if masks else None
        held.clear()
        return images, stacked

    for item in items:
        held.append(_parts(item, "data"))
        if len(held) == _BATCH:
            yield flush()
    if held:
        yield flush()


def _facets(
    listener: Tap,
    model: Any,
    batches: Iterator[tuple[Any, Any, Any]],
    forward: Callable[[Any, Any], Any] | None,
    reading: Features,
    told: Progress | None,
    total: int | None,
) -> Iterator[tuple[Any, Any, Any]]:
    """The facets of batches of images, with masks and pictures passed on."""
    parameter = next(model.parameters())
    done = 0
    for images, masks, pictures in batches:
        features = listener.run(images.to(parameter.device, parameter.dtype), forward)
        reading.grid = listener.grid
        done += len(images)
        if told is not None:
            told(done, total or done, "forward")
        given = {slot: part.float() for slot, part in features.items()}
        shown = None if pictures is None else _arrays.on_cpu(pictures, "images")
        yield given, masks, shown


def _filled(batches: Iterator[tuple[Any, Any, Any]], missing: int) -> Iterator[tuple[Any, Any, Any]]:
    """Batches, and zeros for images that `limit_train` or `limit_test` leaves out: the program wants a place for every
    image of a data set, and never looks at these."""
    last: dict[Any, Any] = {}
    for batch in batches:
        last = batch[0]
        yield batch
    while missing > 0 and last:
        count = min(missing, _BATCH)
        missing -= count
        yield {slot: part[:1].new_zeros((count, *part.shape[1:])) for slot, part in last.items()}, None, None


def _tap_torch() -> Any:
    from vitscope._tap import _module

    return _module("torch")
