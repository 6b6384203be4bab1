"""Masked autoencoding (He et al., 2022): 3 of 4 patches are hidden, a small decoder paints half of them."""

import torch
from timm.layers import trunc_normal_
from timm.models.vision_transformer import Block
from torch import nn

from backbone import GRID, PATCH, WIDTH, backbone, normalized, patches, run
from views import at


class Masked(nn.Module):
    """`kept` of 256 patches are seen, `painted` of the hidden ones are painted by a decoder of this width:
    painting all costs half as much again and teaches little more."""

    def __init__(self, kept: int = 64, painted: int = 96, width: int = 48) -> None:
        super().__init__()
        self.kept, self.painted = kept, painted
        self.vit = backbone()
        self.enter = nn.Linear(WIDTH, width)
        self.hidden = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, 1 + GRID * GRID, width))
        self.decoder = nn.Sequential(*[Block(width, 3, qkv_bias=True) for _ in range(2)], nn.LayerNorm(width))
        self.leave = nn.Linear(width, 3 * PATCH * PATCH)
        trunc_normal_(self.hidden, std=0.02)
        trunc_normal_(self.places, std=0.02)

    def forward(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """The mean squared error of hidden patches, each with mean 0 and deviation 1."""
        x = normalized(images)
        flip = torch.rand(len(x), generator=random, device=x.device) < 0.5
        x = torch.where(flip[:, None, None, None], x.flip(3), x)
        n = GRID * GRID
        truth = x.reshape(-1, 3, GRID, PATCH, GRID, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(len(x), n, -1)
        order = torch.rand(len(x), n, generator=random, device=x.device).argsort(1)
        seen, shown = order[:, :self.kept], order[:, :self.kept + self.painted]
        tokens = at(patches(self.vit, x) + self.vit.pos_embed[:, 1:], seen)
        codes = self.enter(run(self.vit, tokens))
        hidden = self.hidden.to(codes.dtype).expand(len(x), self.painted, -1)
        sketch = torch.cat([codes[:, 1:], hidden], 1) + at(self.places[:, 1:].expand(len(x), -1, -1), shown)
        sketch = torch.cat([codes[:, :1] + self.places[:, :1], sketch], 1)
        painted = self.leave(self.decoder(sketch)[:, 1 + self.kept:])
        truth = at(truth, shown[:, self.kept:])
        truth = (truth - truth.mean(2, keepdim=True)) / (truth.var(2, keepdim=True) + 1e-6).sqrt()
        return (painted.float() - truth).square().mean()
