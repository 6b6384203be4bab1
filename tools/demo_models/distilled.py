"""Self-distillation with hidden patches (after iBOT, Zhou et al., 2022, with contrast in place of prototypes): a
student that sees a view with holes says of places in it, most of them in holes, what its own running mean says of
them in another view, without holes and in other colors. What is in a hole it can only tell from where it is.
Or it says what another model, which stays as it is, says of the same view (so DINOv2's smaller models learned from
its largest, there without holes: Oquab et al., 2023, section 5)."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from backbone import GRID, PATCH, SIDE, WIDTH, backbone, normalized, patches, run
from contrastive import near, told_apart
from views import at, between, centers, collage, cropped, enlarged, matches, recolored, some

# Places of each scene that are told from those of the others.
PLACES = 12


class Distilled(nn.Module):
    """`temperature`, `reach`, `kin`, `turn`, `mixed`, `least` and `most` as for contrast; `fewest_hidden` and
    `most_hidden`, between which the share of hidden patches is drawn; `paint`, the weight of a second task:
    pixels of what is hidden, from the tokens behind block `middle`."""

    def __init__(self, temperature: float = 0.15, reach: float = 12.0, kin: float = 24.0, turn: float = 15.0,
                 mixed: int = 1, fewest_hidden: float = 0.3, most_hidden: float = 0.8, paint: float = 0.0,
                 middle: int = 3, least: float = 72.0, most: float = 124.0) -> None:
        super().__init__()
        self.temperature, self.reach, self.kin, self.turn, self.mixed = temperature, reach, kin, turn, mixed
        self.sides, self.share, self.paint, self.middle = (least, most), (fewest_hidden, most_hidden), paint, middle
        self.taught = False
        self.vit = backbone()
        # Positions begin as waves that are about as strong as patches: begun as faint noise, it takes long
        # until attention finds them.
        self.vit.pos_embed.data[:, 1:] = 0.2 * waves()
        self.hole = nn.Parameter(torch.zeros(WIDTH))
        nn.init.trunc_normal_(self.hole, std=0.02)
        self.brush = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * PATCH * PATCH))
        self.teacher = copy.deepcopy(self.vit).requires_grad_(False)

    def begin(self, weights: dict[str, torch.Tensor]) -> None:
        """Student and teacher go on from a model."""
        for vit in (self.vit, self.teacher):
            vit.load_state_dict(weights)

    def learn_from(self, weights: dict[str, torch.Tensor]) -> None:
        """Takes another model for its teacher: no other scenes are mixed in then, and all tokens are compared."""
        self.taught = True
        self.teacher.load_state_dict(weights)

    def kept(self) -> nn.Module:
        """The backbone to keep."""
        return self.vit if self.taught else self.teacher

    @torch.no_grad()
    def follow(self, done: float) -> None:
        """The teacher follows the student, ever more slowly; `done` goes from 0 to 1. Another model does not."""
        if self.taught:
            return
        step = 0.01 * (1 - done) + 0.001
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.vit.parameters()), step)

    def forward(self, images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        x, n = normalized(images), len(images)
        views, maps = zip(*(cropped(x, SIDE, self.sides, self.turn, random) for _ in range(2)))
        own = torch.ones(2, n, GRID * GRID, dtype=torch.bool, device=x.device)
        if self.taught:
            views = views[:1] * 2
        elif self.mixed:
            views, own = zip(*(collage(view, GRID, by, random) for by, view in enumerate(views, 1)))
        one, two = (recolored(view, random) for view in views)
        with torch.no_grad():
            told = run(self.teacher, patches(self.teacher, two) + self.teacher.pos_embed[:, 1:])[:, 1:]
        # Holes are squares of 2 x 2 patches.
        share = between(*self.share, n, random)[:, None, None]
        coarse = torch.rand(n, GRID // 2, GRID // 2, generator=random, device=x.device) < share
        holes = enlarged(coarse, 2).flatten(1)
        tokens = torch.where(holes[:, :, None], self.hole, patches(self.vit, one).float())
        halfway = run(self.vit, tokens + self.vit.pos_embed[:, 1:], last=self.middle)
        said = run(self.vit, halfway, first=self.middle)[:, 1:]
        if self.taught:
            # What all tokens share says nothing of one of them.
            mean = told.mean((0, 1))
            loss = 1 - F.cosine_similarity(said.float() - mean, told.float() - mean, dim=2).mean()
        else:
            spots = tuple(centers(each, GRID) for each in maps)
            match, there = matches(spots, tuple(own), self.reach, random)
            places, real = some(there, PLACES, random)
            loss = told_apart(at(said, places).flatten(0, 1), at(told, match.gather(1, places)).flatten(0, 1),
                              real.flatten().float(), near(at(spots[0], places), self.kin), self.temperature)
        if self.paint == 0:
            return loss
        truth = one.reshape(n, 3, GRID, PATCH, GRID, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(n, GRID * GRID, -1)
        truth = (truth - truth.mean(2, keepdim=True)) / (truth.var(2, keepdim=True) + 1e-6).sqrt()
        wrong = F.mse_loss(self.brush(halfway[:, 1:]).float(), truth, reduction="none").mean(2)
        return loss + self.paint * (wrong * holes).sum() / holes.sum()


def waves() -> torch.Tensor:
    """Sines and cosines of row and column, `[GRID * GRID, WIDTH]`."""
    speeds = 100.0 ** -torch.linspace(0, 1, WIDTH // 4)
    angles = torch.arange(GRID)[:, None] * speeds
    line = torch.cat([angles.sin(), angles.cos()], 1)
    rows, columns = line[:, None].expand(-1, GRID, -1), line[None].expand(GRID, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)
