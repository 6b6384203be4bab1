"""Golden figures for vitscope-probe: k-means by autograd and torch.optim.Adam, PCA, pixel labels.

    python tools/oracle/probe.py        (from the repository's root; numpy, torch)
"""

import numpy as np
import torch
import torch.nn.functional as F

from lcg import Lcg, features, run_lengths, write

GOLDEN = "crates/vitscope-probe/tests/golden"
VERSIONS = f"numpy {np.__version__}, torch {torch.__version__}"
torch.manual_seed(0)


def train(x, start, steps, batch, dtype):
    """The published way: a parameter, F.normalize, autograd, torch.optim.Adam."""
    v = torch.nn.Parameter(torch.tensor(start, dtype=dtype))
    adam = torch.optim.Adam([v], lr=5e-3)
    x = torch.tensor(x, dtype=dtype)
    losses = []
    for step in range(steps):
        images = [(step * batch + i) % len(x) for i in range(batch)]
        rows = F.normalize(x[images].reshape(-1, x.shape[-1]), dim=1)
        inner = rows @ F.normalize(v, dim=1).T
        with torch.no_grad():
            hard = F.one_hot(inner.argmax(1), v.shape[0]).to(dtype)
        loss = -(hard * inner).sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return v.detach().double().numpy(), F.normalize(v.detach().double(), dim=1).numpy(), losses


def kmeans():
    rng = Lcg(1)
    x = features(rng, 16, 25, 24, 9)
    start = rng.uniform(7, 24)
    v32, c32, l32 = train(x, start, 60, 5, torch.float32)
    v64, c64, l64 = train(x, start, 60, 5, torch.float64)
    print("f32 against f64:", abs(c32 - c64).max(), abs(np.array(l32) - l64).max())
    write(f"{GOLDEN}/kmeans.txt", VERSIONS, values_f32=v32, codebook_f32=c32, losses_f32=l32,
          values_f64=v64, codebook_f64=c64, losses_f64=l64)


def pca():
    rng = Lcg(2)
    x = features(rng, 12, 25, 24, 9)
    weights = np.array([1, 2, 1, 0, 3, 1, 1, 1, 2, 1, 1, 1])
    rows = np.repeat(x, weights, 0).reshape(-1, 24).astype(np.float64)
    centered = rows - rows.mean(0)
    values, vectors = np.linalg.eigh(centered.T @ centered / len(rows))
    values, directions = values[::-1], vectors.T[::-1]
    peaks = np.abs(directions).argmax(1)
    directions = directions * np.sign(directions[np.arange(24), peaks])[:, None]
    _, _, lowrank = torch.pca_lowrank(torch.tensor(rows), q=24, niter=8)
    print("variances", values[:12])
    print("eigh against pca_lowrank:", abs(abs((lowrank.T.numpy() * directions).sum(1)) - 1)[:10].max())
    write(f"{GOLDEN}/pca.txt", VERSIONS, directions=directions[:10], lowrank=lowrank.T.numpy()[:10])


def density():
    """Effective rank and the two spreads of clusters, by singular values of the vectors themselves."""
    rng = Lcg(30)
    x = features(rng, 12, 25, 24, 9)
    weights = np.array([1, 2, 1, 0, 3, 1, 1, 1, 2, 1, 1, 1])
    rows = np.repeat(x, weights, 0).reshape(-1, 24).astype(np.float64)
    s = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    p = s / s.sum()
    rank = np.exp(-(p * np.log(p)).sum())
    arrays = {"effective_rank": np.array([rank])}
    # Few wide vectors and many narrow ones: more and fewer than dimensions in a cluster.
    for name, (images, patches, width, clusters) in {"wide": (4, 10, 40, 5), "narrow": (10, 30, 6, 7)}.items():
        z = features(rng, images, patches, width, 9).reshape(-1, width).astype(np.float64)
        book = rng.uniform(clusters, width).astype(np.float64)
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        book /= np.linalg.norm(book, axis=1, keepdims=True)
        label = (z @ book.T).argmax(1)
        parts = [z[label == j] for j in range(clusters) if (label == j).sum() > 1]
        means = np.array([part.mean(0) for part in parts])
        apart = np.linalg.norm(means[:, None] - means[None], axis=2) + np.diag(np.full(len(means), np.inf))
        wide = [np.linalg.svd(part - part.mean(0), compute_uv=False).sum() / (len(part) - 1) for part in parts]
        print(name, "clusters", len(parts), "sizes", sorted(len(part) for part in parts))
        arrays[name] = np.array([apart.min(1).mean(), np.mean(wide)])
    write(f"{GOLDEN}/density.txt", f"numpy {np.__version__}", **arrays)


def labels():
    arrays = {}
    for seed, (rows, cols, patch) in enumerate([(6, 5, 8), (5, 6, 14), (4, 5, 16), (3, 4, 7)]):
        rng = Lcg(10 + seed)
        x = features(rng, 1, rows * cols, 12, 9, offset=0.0)[0]
        book = F.normalize(torch.tensor(rng.uniform(9, 12)), dim=1)
        grid = torch.tensor(x).reshape(1, rows, cols, 12).permute(0, 3, 1, 2)
        up = F.interpolate(grid, (rows * patch, cols * patch), mode="bilinear", align_corners=False)
        cosine = torch.einsum("dhw,kd->hwk", F.normalize(up[0], dim=0), book)
        top = cosine.topk(2, dim=2).values
        close = ((top[..., 0] - top[..., 1]) < 1e-5).flatten().nonzero().flatten().numpy()
        arrays[f"labels_{seed}"] = run_lengths(cosine.argmax(2).numpy())
        arrays[f"close_{seed}"] = close
        print("labels", seed, "classes", len(cosine.argmax(2).unique()), "close calls", len(close))
    write(f"{GOLDEN}/labels.txt", VERSIONS, **arrays)


kmeans()
pca()
density()
labels()
