"""Contrast (InfoNCE): two views of one scene are told from the views of all others, and so are two patches
that show the same place of it."""

import torch
import torch.nn.functional as F
from torch import nn

from backbone import GRID, PATCH, SIDE, WIDTH, backbone, normalized, patches, run
from views import at, centers, collage, cropped, matches, recolored, some, within

# Places of each scene that are told from those of the others.
PLACES = 12


class Contrastive(nn.Module):
    """`temperature` of both terms; `whole` and `dense`, the weights of the terms over scenes and patches;
    `reach`, how many pixels apart two patches may lie that count as one place; `kin`, how many apart they must
    lie to be told from each other within a scene; `turn`, the greatest angle between a view and its scene in
    degrees; `head`, whether patches are compared behind a head (1) or as they are (0); `mixed`, whether a part
    of each view shows another scene (1); `side` and `least`, `most`: a view's own pixels, and how many of the
    scene's it shows."""

    def __init__(self, temperature: float = 0.15, whole: float = 1.0, dense: float = 1.0, reach: float = 5.0,
                 kin: float = 0.0, turn: float = 15.0, head: int = 1, mixed: int = 0, side: int = 80,
                 least: float = 56.0, most: float = 112.0) -> None:
        super().__init__()
        self.temperature, self.whole, self.dense = temperature, whole, dense
        self.reach, self.kin, self.turn, self.mixed = reach, kin, turn, mixed
        self.side, self.sides = side, (least, most)
        self.vit = backbone()
        self.head = nn.Sequential(nn.Linear(WIDTH, 256), nn.GELU(), nn.Linear(256, 128))
        local = nn.Sequential(nn.Linear(WIDTH, 256), nn.GELU(), nn.Linear(256, 128))
        self.local = local if head else nn.Identity()

    def forward(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        x, n, cells = normalized(images), len(images), self.side // PATCH
        views, maps = zip(*(cropped(x, self.side, self.sides, self.turn, random) for _ in range(2)))
        own = torch.ones(2, n, cells * cells, dtype=torch.bool, device=x.device)
        if self.mixed:
            views, own = zip(*(collage(view, cells, by, random) for by, view in enumerate(views, 1)))
        tokens = patches(self.vit, recolored(torch.cat(views), random))
        # A view takes the positions of a random window of the table: all of them are trained, and none says
        # anything about what is there.
        corner = torch.randint(0, GRID - cells + 1, (2, 2 * n), generator=random, device=x.device)
        line = torch.arange(cells, device=x.device)
        rows, columns = corner[0, :, None] + line, corner[1, :, None] + line
        window = (rows[:, :, None] * GRID + columns[:, None, :]).flatten(1)
        positions = at(self.vit.pos_embed[:, 1:].expand(2 * n, -1, -1), window)
        tokens = run(self.vit, tokens + positions)[:, 1:]
        share = torch.cat(tuple(own)).float()
        means = (tokens * share[:, :, None]).sum(1) / share.sum(1, keepdim=True).clamp(min=1)
        wholes = self.head(means).chunk(2)
        spots = tuple(centers(each, cells) for each in maps)
        match, there = matches(spots, tuple(own), self.reach, random)
        places, real = some(there, PLACES, random)
        left, right = tokens.chunk(2)
        parts = (self.local(at(left, places)).flatten(0, 1),
                 self.local(at(right, match.gather(1, places))).flatten(0, 1))
        none = torch.zeros(n, n, dtype=torch.bool, device=x.device)
        whole = told_apart(*wholes, torch.ones(n, device=x.device), none, self.temperature)
        dense = told_apart(*parts, real.flatten().float(), near(at(spots[0], places), self.kin), self.temperature)
        return self.whole * whole + self.dense * dense


def near(spots: torch.Tensor, pixels: float) -> torch.Tensor:
    """Which of the places `[B, m, 2]` lie in one scene and so near each other, `[B m, B m]`."""
    # Scenes are set far apart, so that only places of one scene can be near.
    far = 1e3 * torch.arange(len(spots), device=spots.device)[:, None, None]
    spots = (spots * (SIDE / 2) + far).flatten(0, 1)
    return within(spots, spots, pixels)


def told_apart(one: torch.Tensor, two: torch.Tensor, real: torch.Tensor, kin: torch.Tensor,
               temperature: float) -> torch.Tensor:
    """InfoNCE: the mean of both directions' cross entropies over the real pairs of codes `[n, C]`; kin
    `[n, n]` need not be told apart."""
    with torch.autocast(one.device.type, enabled=False):
        one, two = F.normalize(one.float(), dim=1), F.normalize(two.float(), dim=1)
        same = torch.arange(len(one), device=one.device)
        alike = (one @ two.T / temperature).masked_fill(kin.fill_diagonal_(False), -1e4)
        loss = F.cross_entropy(alike, same, reduction="none") + F.cross_entropy(alike.T, same, reduction="none")
        return (loss * real).sum() / (2 * real.sum()).clamp(min=1)
