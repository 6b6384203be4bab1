"""Masked autoencoding (He et al., 2022): 3 of 4 patches are hidden, a small decoder paints half of them."""

import torch
from timm.layers import trunc_normal_
from timm.models.vision_transformer import Block
from torch import nn

from backbone import GRID, PATCH, WIDTH, backbone, normalized, run

KEPT = GRID * GRID // 4
PAINTED = 3 * GRID * GRID // 8  # painting all costs half as much again and teaches little more
DECODER_WIDTH = 48


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vit = backbone()
        self.enter = nn.Linear(WIDTH, DECODER_WIDTH)
        self.hidden = nn.Parameter(torch.zeros(1, 1, DECODER_WIDTH))
        self.places = nn.Parameter(torch.zeros(1, 1 + GRID * GRID, DECODER_WIDTH))
        self.decoder = nn.Sequential(*[Block(DECODER_WIDTH, 3, qkv_bias=True) for _ in range(2)],
                                     nn.LayerNorm(DECODER_WIDTH))
        self.leave = nn.Linear(DECODER_WIDTH, 3 * PATCH * PATCH)
        trunc_normal_(self.hidden, std=0.02)
        trunc_normal_(self.places, std=0.02)

    def forward(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """The mean squared error of hidden patches, each with mean 0 and deviation 1."""
        x = normalized(images)
        flips = torch.rand(len(x), generator=random) < 0.5
        x[flips] = x[flips].flip(3)
        n = GRID * GRID
        patches = (x.reshape(-1, 3, GRID, PATCH, GRID, PATCH).permute(0, 2, 4, 1, 3, 5)
                   .reshape(len(x), n, -1))
        order = torch.rand(len(x), n, generator=random).argsort(1)
        seen = order[:, :KEPT, None]
        tokens = self.vit.patch_embed(x) + self.vit.pos_embed[:, 1:]
        tokens = tokens.gather(1, seen.expand(-1, -1, WIDTH))
        codes = self.enter(run(self.vit, tokens))
        hidden = self.hidden.to(codes.dtype).expand(len(x), PAINTED, -1)
        shown = order[:, :KEPT + PAINTED]
        sketch = torch.cat([codes[:, 1:], hidden], 1) + self.places[0, 1:][shown]
        sketch = torch.cat([codes[:, :1] + self.places[:, :1], sketch], 1)
        painted = self.leave(self.decoder(sketch)[:, 1 + KEPT:])
        truth = patches.gather(1, shown[:, KEPT:, None].expand(-1, -1, patches.shape[2]))
        truth = (truth - truth.mean(2, keepdim=True)) / (truth.var(2, keepdim=True) + 1e-6).sqrt()
        return (painted.float() - truth).square().mean()
