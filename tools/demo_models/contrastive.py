"""Contrast (InfoNCE): two distorted crops of one scene are told from the crops of all others."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from backbone import GRID, PATCH, SIDE, WIDTH, backbone, normalized, run

CROP = 56
TEMPERATURE = 0.15


class Contrastive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vit = backbone()
        self.head = nn.Sequential(nn.Linear(WIDTH, 256), nn.GELU(), nn.Linear(256, 128))

    def view(self, x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """The code of a random crop of each image: `[B, 128]`, unit length."""
        crops = recolored(cropped(x, random), random)
        tokens = self.vit.patch_embed.proj(crops).flatten(2).transpose(1, 2)
        # A crop takes the positions of a random window of the table: all of them are trained, and
        # none says anything about what is there.
        cells = CROP // PATCH
        top, left = torch.randint(0, GRID - cells + 1, (2, len(x)), generator=random)
        inside = torch.arange(cells)
        rows = (top[:, None] + inside)[:, :, None] * GRID
        places = (rows + (left[:, None] + inside)[:, None, :]).flatten(1)
        tokens = tokens + self.vit.pos_embed[0, 1:][places]
        return F.normalize(self.head(run(self.vit, tokens)[:, 1:].mean(1)).float(), dim=1)

    def forward(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """The mean of both directions' cross entropies."""
        x = normalized(images)
        alike = self.view(x, random) @ self.view(x, random).T / TEMPERATURE
        same = torch.arange(len(x))
        return (F.cross_entropy(alike, same) + F.cross_entropy(alike.T, same)) / 2


def cropped(x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Squares of 48 to 104 pixels anywhere, turned by up to 15 degrees, maybe mirrored, at 56 pixels."""
    n = len(x)

    def between(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=random)

    half = between(48, 104) / SIDE
    angle = between(-math.pi / 12, math.pi / 12)
    mirror = torch.where(between(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = half * angle.cos(), half * angle.sin()
    room = (1 - (cos.abs() + sin.abs())).clamp(min=0)
    rows = torch.stack([cos * mirror, -sin, room * between(-1, 1), sin * mirror, cos, room * between(-1, 1)], 1)
    grid = F.affine_grid(rows.reshape(n, 2, 3), [n, 3, CROP, CROP], align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def recolored(x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Colors turned about grey, saturation, contrast and brightness changed, grain added."""
    n = len(x)

    def between(low: float, high: float) -> torch.Tensor:
        return (low + (high - low) * torch.rand(n, generator=random))[:, None, None, None]

    grey = x.mean(1, keepdim=True)
    tone = x - grey
    turned = torch.stack([tone[:, 1] - tone[:, 2], tone[:, 2] - tone[:, 0], tone[:, 0] - tone[:, 1]], 1)
    angle = between(-math.pi, math.pi)
    tone = tone * angle.cos() + turned / math.sqrt(3) * angle.sin()
    grain = 0.05 * torch.randn(x.shape, generator=random)
    return (grey + between(0.0, 1.2) * tone) * between(0.6, 1.3) + between(-0.3, 0.3) + grain
