"""What users pass as arrays, made into the arrays that are computed with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vitscope._vitscope import InputError

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
Grid = tuple[int, int]

LAYOUTS = ("NLC", "NCHW", "NHWC")


def of_torch(value: object) -> bool:
    """Whether this is an object of torch, which then is imported already."""
    return any(base.__module__.split(".")[0] == "torch" for base in type(value).__mro__)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of anything that has one."""
    shape = getattr(value, "shape", None)
    return tuple(int(side) for side in shape) if shape is not None else np.shape(value)


def on_cpu(value: Any, what: str) -> npt.NDArray[Any]:
    """The values as a numpy array: the same memory where they lie on the CPU in a type that numpy knows."""
    if isinstance(value, np.ndarray):
        return value
    if of_torch(value) and hasattr(value, "detach"):
        tensor = value.detach()
        if tensor.device.type != "cpu":
            tensor = tensor.cpu()
        # numpy has no bfloat16; every bfloat16 is an f32.
        if str(tensor.dtype) == "torch.bfloat16":
            tensor = tensor.float()
        return np.asarray(tensor.numpy())
    if hasattr(value, "__dlpack_device__"):
        if value.__dlpack_device__()[0] == 1:
            try:
                return np.from_dlpack(value)
            except (BufferError, RuntimeError, TypeError):
                return np.asarray(value)
        if hasattr(value, "get"):
            return np.asarray(value.get())
        try:
            return np.asarray(np.from_dlpack(value, device="cpu"))
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"{what} lie on another device and cannot be copied from there ({error}): move them to the CPU"
            ) from error
    if isinstance(value, (memoryview, bytes, bytearray)) or hasattr(value, "__array__"):
        return np.asarray(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return np.asarray(value)
    raise InputError(
        f"{what} must be an array of numpy, torch, jax or anything with a buffer or __dlpack__, got {type(value).__name__}"
    )


def f32(array: npt.NDArray[Any], what: str) -> F32:
    """The values in f32; f16 and bf16 are widened, which changes no value."""
    if array.dtype == np.float32:
        return array
    if array.dtype == np.float16 or array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    raise InputError(
        f"{what} of shape {shape_of(array)} are {array.dtype}: give float32, float16 or bfloat16"
    )


def layout_of(shape: tuple[int, ...], grid: Grid | None, layout: str | None, what: str) -> str:
    """How an array of this shape is laid out, where that is beyond doubt."""
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"layout {layout}: expected one of {', '.join(LAYOUTS)}")
    axes = {3: ("NLC",), 4: ("NCHW", "NHWC")}.get(len(shape), ())
    if not axes or (layout is not None and layout not in axes):
        expected = layout or "[B, N, D], [B, D, H, W] or [B, H, W, D]"
        raise InputError(f"{what}: expected {expected}, got shape {shape}")
    if layout is not None:
        return layout
    if len(axes) == 1:
        return axes[0]
    places = {"NCHW": shape[2:], "NHWC": shape[1:3]}
    if grid is not None:
        fitting = [name for name in axes if places[name] == grid]
    else:
        fitting = [name for name in axes if places[name][0] == places[name][1]]
    if len(fitting) == 1:
        return fitting[0]
    if grid is not None and not fitting:
        raise InputError(
            f"{what}: expected {grid[0]} x {grid[1]} patches as [B, D, H, W] or [B, H, W, D], got shape {shape}"
        )
    raise InputError(
        f"{what} of shape {shape} may be [B, D, H, W] or [B, H, W, D]: say layout='NCHW' or layout='NHWC'"
    )


def features(
    value: Any, grid: Grid | None, layout: str | None, what: str = "features"
) -> tuple[F32, Grid]:
    """Patch vectors as [B, N, D] in f32 and their grid. C-contiguous f32 [B, N, D] on the CPU is not copied."""
    array = on_cpu(value, what)
    kind = layout_of(array.shape, grid, layout, what)
    array = f32(array, what)
    if kind == "NLC":
        if grid is None:
            raise InputError(
                f"{what} of shape {array.shape} do not say their grid: give grid=(rows, columns)"
            )
        if array.shape[1] != grid[0] * grid[1]:
            raise InputError(
                f"{what}: expected {grid[0]} x {grid[1]} = {grid[0] * grid[1]} patches, got shape {array.shape};"
                " leave class token and registers out"
            )
        return np.ascontiguousarray(array), grid
    if kind == "NCHW":
        array = array.transpose(0, 2, 3, 1)
    own = (array.shape[1], array.shape[2])
    if grid is not None and own != grid:
        raise InputError(
            f"{what}: expected {grid[0]} x {grid[1]} patches, got {own[0]} x {own[1]} in shape {value.shape}"
        )
    rows = np.ascontiguousarray(array).reshape(array.shape[0], own[0] * own[1], array.shape[3])
    return rows, own


def labels(value: Any, what: str, ignore: int = 255) -> U8:
    """Label maps as [B, H, W] bytes, 255 for none; one map [H, W] counts as a batch of one."""
    array = on_cpu(value, what)
    if array.ndim == 2:
        array = array[None]
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 3:
        raise InputError(f"{what}: expected [B, H, W], got shape {shape_of(value)}")
    if array.dtype.kind not in "iub":
        raise InputError(f"{what} of shape {array.shape} are {array.dtype}: give whole numbers")
    if array.dtype == np.uint8:
        if ignore != 255:
            array = np.where(array == ignore, np.uint8(255), array)
        return np.ascontiguousarray(array)
    known = array[array != ignore] if array.size else array
    if known.size and (known.min() < 0 or known.max() > 255):
        wrong = known.min() if known.min() < 0 else known.max()
        raise InputError(f"{what} hold {wrong}: labels lie in 0..254, and {ignore} stands for none")
    return np.where(array == ignore, 255, array).astype(np.uint8)


def patch_of(size: tuple[int, int], grid: Grid, what: str) -> int:
    """Pixels along a patch, where a map of this size divides into square ones."""
    patch = size[0] // grid[0] if grid[0] else 0
    if patch == 0 or (grid[0] * patch, grid[1] * patch) != tuple(size):
        raise InputError(
            f"{what}: expected a whole number of pixels for each of {grid[0]} x {grid[1]} square patches,"
            f" got {size[0]} x {size[1]}"
        )
    return patch


def pair(value: Any, what: str) -> Grid:
    """Two whole numbers, or one for both."""
    if isinstance(value, (int, np.integer)):
        value = (value, value)
    if (
        not isinstance(value, Sequence)
        or len(value) != 2
        or not all(isinstance(side, (int, np.integer)) and side > 0 for side in value)
    ):
        raise InputError(f"{what} must be (rows, columns), got {value!r}")
    return int(value[0]), int(value[1])
