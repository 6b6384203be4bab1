"""Two views of one scene: crops whose places are known, in other colors."""

import math

import torch
import torch.nn.functional as F

from backbone import SIDE


def between(low: float, high: float, n: int, random: torch.Generator) -> torch.Tensor:
    """`[n]` uniform numbers, where the generator is."""
    return low + (high - low) * torch.rand(n, generator=random, device=random.device)


def cropped(x: torch.Tensor, side: int, sides: tuple[float, float], turn: float,
            random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Squares of so many pixels anywhere in the scene, turned by up to `turn` degrees, maybe mirrored, at
    `side` pixels; and the affine maps `[B, 2, 3]` from a view's coordinates to the scene's, both in [-1, 1]."""
    n = len(x)
    half = between(sides[0], sides[1], n, random) / SIDE
    angle = between(-turn, turn, n, random) * (math.pi / 180)
    mirror = (between(0, 1, n, random) < 0.5) * 2.0 - 1.0
    cos, sin = half * angle.cos(), half * angle.sin()
    room = (1 - (cos.abs() + sin.abs())).clamp(min=0)
    across, down = room * between(-1, 1, n, random), room * between(-1, 1, n, random)
    maps = torch.stack([cos * mirror, -sin, across, sin * mirror, cos, down], 1).reshape(n, 2, 3)
    grid = centers(maps, side).reshape(n, side, side, 2)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False), maps


def recolored(x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Colors turned about grey, saturation, contrast and brightness changed, grain added."""
    n = len(x)

    def each(low: float, high: float) -> torch.Tensor:
        return between(low, high, n, random)[:, None, None, None]

    grey = x.mean(1, keepdim=True)
    tone = x - grey
    turned = torch.stack([tone[:, 1] - tone[:, 2], tone[:, 2] - tone[:, 0], tone[:, 0] - tone[:, 1]], 1)
    angle = each(-math.pi, math.pi)
    tone = tone * angle.cos() + turned / math.sqrt(3) * angle.sin()
    grain = 0.05 * torch.randn(x.shape, generator=random, device=x.device)
    return (grey + each(0.0, 1.2) * tone) * each(0.6, 1.3) + each(-0.3, 0.3) + grain


def centers(maps: torch.Tensor, cells: int) -> torch.Tensor:
    """Where the middles of a view's cells are in the scene: `[B, cells * cells, 2]`. Spelled out, since a
    product of matrices would be rounded to 8 bits under autocast."""
    line = (torch.arange(cells, device=maps.device) + 0.5) / cells * 2 - 1
    y, x = (grid.flatten()[None, :, None] for grid in torch.meshgrid(line, line, indexing="ij"))
    return maps[:, None, :, 0] * x + maps[:, None, :, 1] * y + maps[:, None, :, 2]


def collage(views: torch.Tensor, cells: int, by: int,
            random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of which one side, cut anywhere and at any angle, shows the view `by` places further on in the
    batch instead: what else is in a view then says nothing of the scene. Also which patches `[B, cells *
    cells]` are the scene's own."""
    n, device = len(views), views.device
    line = (torch.arange(cells, device=device) + 0.5) / cells * 2 - 1
    angle = between(-math.pi, math.pi, n, random)[:, None, None]
    edge = between(-0.5, 0.5, n, random)[:, None, None]
    own = line[None, None, :] * angle.cos() + line[None, :, None] * angle.sin() > edge
    size = views.shape[2] // cells
    return torch.where(enlarged(own, size)[:, None], views, views.roll(-by, 0)), own.flatten(1)


def enlarged(cells: torch.Tensor, by: int) -> torch.Tensor:
    """`[B, n, n]` to `[B, by n, by n]`."""
    n = cells.shape[1]
    return cells[:, :, None, :, None].expand(-1, -1, by, -1, by).reshape(-1, by * n, by * n)


def within(one: torch.Tensor, two: torch.Tensor, reach: float) -> torch.Tensor:
    """Which points `[..., n, 2]` and `[..., m, 2]` are less than `reach` apart, `[..., n, m]`. (On a card,
    cdist starts a block of threads for every pair.)"""
    across = one[..., :, None, 0] - two[..., None, :, 0]
    down = one[..., :, None, 1] - two[..., None, :, 1]
    return across * across + down * down < reach * reach


def matches(places: tuple[torch.Tensor, torch.Tensor], own: tuple[torch.Tensor, torch.Tensor], reach: float,
            random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """For every patch of the first views one of the second that shows the scene within `reach` pixels of its
    middle, by chance where there are several: its number `[B, n]`, and whether there is one. From the places
    of the patches in the scene `[B, n, 2]` and which are the scene's own `[B, n]`."""
    near = within(places[0] * (SIDE / 2), places[1] * (SIDE / 2), reach)
    near &= own[0][:, :, None] & own[1][:, None, :]
    score = torch.rand(near.shape, generator=random, device=near.device).masked_fill(~near, -1.0)
    return score.argmax(2), near.any(2)


def some(allowed: torch.Tensor, count: int, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """So many of each row's allowed places by chance: their numbers `[B, count]`, and whether each is one of
    the allowed (a row can have too few). The shape is fixed, so that a graphics card need not be waited for."""
    score = torch.rand(allowed.shape, generator=random, device=allowed.device).masked_fill(~allowed, -1.0)
    score, places = score.topk(count, dim=1)
    return places, score >= 0


def at(tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """The tokens `[B, n, C]` at these places `[B, m]` of each row: `[B, m, C]`."""
    return tokens.gather(1, places[:, :, None].expand(-1, -1, tokens.shape[2]))

