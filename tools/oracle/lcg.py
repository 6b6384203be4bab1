"""Numbers that Python and Rust make alike, so that golden files need to hold outputs only.

A 64-bit linear congruential generator (Knuth's MMIX constants); the top 24 bits are one number, so a
uniform number in [0, 1) is exact in f32. The Rust twin is in the tests of the crates that use it.
"""

import numpy as np


class Lcg:
    def __init__(self, seed: int):
        self.state = seed

    def bits(self) -> int:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.state >> 40

    def uniform(self, *shape) -> np.ndarray:
        """f32 in [-0.5, 0.5), row-major."""
        count = int(np.prod(shape))
        values = [self.bits() for _ in range(count)]
        return (np.array(values, np.float32) / np.float32(2**24) - np.float32(0.5)).reshape(shape)

    def below(self, bound: int, *shape) -> np.ndarray:
        """Integers in [0, bound), row-major."""
        count = int(np.prod(shape))
        return np.array([self.bits() * bound >> 24 for _ in range(count)], np.int64).reshape(shape)


def features(rng: Lcg, images: int, patches: int, dim: int, prototypes: int,
             offset: float = 0.25) -> np.ndarray:
    """[images, patches, dim] f32: a prototype per patch, noise, a common offset, falling scales."""
    protos = rng.uniform(prototypes, dim)
    which = rng.below(prototypes, images, patches)
    noise = rng.uniform(images, patches, dim)
    scale = np.float32(2.0) / (np.arange(dim, dtype=np.float32) + np.float32(2.0))
    return (protos[which] + noise * np.float32(0.75)) * scale + np.float32(offset)


def write(path: str, versions: str, **arrays) -> None:
    """A text file: `# versions`, then per array a line `name n` and a line of n numbers."""
    with open(path, "w") as out:
        out.write(f"# {versions}\n")
        for name, values in arrays.items():
            flat = np.asarray(values).ravel()
            integer = np.issubdtype(flat.dtype, np.integer)
            text = [str(int(v)) if integer else format(float(v), ".12g") for v in flat]
            out.write(f"{name} {len(text)}\n{' '.join(text)}\n")


def run_lengths(values) -> np.ndarray:
    """Value, count, value, count, ..."""
    flat = np.asarray(values).ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    counts = np.diff(np.concatenate([starts, [len(flat)]]))
    return np.stack([flat[starts], counts], 1).astype(np.int64)
