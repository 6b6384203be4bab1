"""What a model's embeddings show on validation scenes: k-means into ten clusters per layer and facet, their mIoU
with the classes and their NMI with the place. Quick and rough: it chooses settings, vitscope measures."""

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from backbone import DEPTH, GRID, PATCH, WIDTH, normalized, patches, run

FACETS = ("key", "query", "value", "token")
CLASSES = 10


@torch.no_grad()
def judge(vit: torch.nn.Module, images: torch.Tensor, masks: torch.Tensor) -> dict[str, tuple[float, float]]:
    """mIoU and NMI by slot (`key.3`), from images `[B, H, W, 3]` and masks `[B, H, W]` of bytes."""
    found: dict[str, torch.Tensor] = {}

    def keep(layer: int):
        def qkv(_module, _input, out):
            for facet, piece in zip(("query", "key", "value"), out[:, 1:].split(WIDTH, dim=2)):
                found[f"{facet}.{layer}"] = piece.float()
        return qkv

    def token(layer: int):
        def block(_module, _input, out):
            # The last layer is taken behind the last norm, as vitscope does.
            out = vit.norm(out) if layer == DEPTH else out
            found[f"token.{layer}"] = out[:, 1:].float()
        return block

    hooks = [hook for layer, block in enumerate(vit.blocks, 1) for hook in (
        block.attn.qkv.register_forward_hook(keep(layer)), block.register_forward_hook(token(layer)))]
    was = vit.training
    vit.eval()
    run(vit, patches(vit, normalized(images)) + vit.pos_embed[:, 1:])
    vit.train(was)
    for hook in hooks:
        hook.remove()
    middles = masks.reshape(-1, GRID, PATCH, GRID, PATCH)[:, :, PATCH // 2, :, PATCH // 2].reshape(-1).long()
    places = torch.arange(GRID * GRID, device=masks.device).repeat(len(images))
    slots = {}
    for slot, tokens in found.items():
        cluster = clusters(tokens.flatten(0, 1))
        slots[slot] = (miou(counts(cluster, middles, CLASSES)), nmi(counts(places, cluster, GRID * GRID)))
    return slots


def clusters(rows: torch.Tensor, rounds: int = 40) -> torch.Tensor:
    """k-means by cosine, begun at the principal directions."""
    x = F.normalize(rows, dim=1)
    apart = x - x.mean(0)
    centroids = torch.linalg.eigh(apart.T @ apart)[1].T.flip(0)[:CLASSES]
    for _ in range(rounds):
        sums = F.one_hot((x @ centroids.T).argmax(1), CLASSES).to(x.dtype).T @ x
        empty = sums.norm(dim=1, keepdim=True) == 0
        centroids = torch.where(empty, centroids, F.normalize(sums, dim=1))
    return (x @ centroids.T).argmax(1)


def counts(rows: torch.Tensor, columns: torch.Tensor, height: int) -> torch.Tensor:
    """How often each pair occurs, `[height, CLASSES]`."""
    return torch.bincount(rows * CLASSES + columns, minlength=height * CLASSES).reshape(height, CLASSES).double()


def miou(table: torch.Tensor) -> float:
    """The mean IoU of clusters matched with classes."""
    table = table.cpu().numpy()
    rows, columns = linear_sum_assignment(-table)
    hits = table[rows, columns]
    return float((hits / (table.sum(1)[rows] + table.sum(0)[columns] - hits)).mean())


def nmi(table: torch.Tensor) -> float:
    """The share of the clusters' entropy that the place tells."""
    p = table / table.sum()
    place, cluster = p.sum(1, keepdim=True), p.sum(0, keepdim=True)
    told = torch.xlogy(p, p / (place * cluster).clamp(min=1e-300)).sum()
    whole = -torch.xlogy(cluster, cluster).sum()
    return float(told / whole) if whole > 0 else 0.0


def best(slots: dict[str, tuple[float, float]], facet: str, which: int) -> tuple[str, float, float]:
    """The slot of a facet with the greatest mIoU (0) or NMI (1)."""
    slot = max((slot for slot in slots if slot.startswith(facet)), key=lambda slot: slots[slot][which])
    return slot, *slots[slot]
