"""The Vision Transformer that all three models share, in timm's code and names."""

import torch
from timm.layers import set_fused_attn
from timm.models.vision_transformer import VisionTransformer

# On a CPU the backward pass of the fused attention takes half of a training step (torch 2.15).
set_fused_attn(torch.cuda.is_available())

SIDE, PATCH, WIDTH, DEPTH, HEADS = 128, 8, 96, 6, 3
GRID = SIDE // PATCH


def backbone() -> VisionTransformer:
    """A fresh one, for images of 128 pixels: patches of 8, learned positions, one class token."""
    return VisionTransformer(img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH,
                             num_heads=HEADS, num_classes=0, global_pool="")


def normalized(images: torch.Tensor) -> torch.Tensor:
    """`[B, H, W, 3]` bytes to `[B, 3, H, W]` in about [-1, 1]: mean and deviation are 0.5."""
    return images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def patches(vit: VisionTransformer, x: torch.Tensor) -> torch.Tensor:
    """The patch tokens of images of any size, without positions: `[B, n, WIDTH]`."""
    return vit.patch_embed.proj(x).flatten(2).transpose(1, 2)


def run(vit: VisionTransformer, tokens: torch.Tensor, first: int = 0, last: int = DEPTH) -> torch.Tensor:
    """Patch tokens that have their positions, through the blocks: `[B, 1 + n, WIDTH]`, class first. A part of
    the way, from behind block `first` to behind block `last`, where that is asked for."""
    if first == 0:
        whole = (vit.cls_token + vit.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        tokens = torch.cat([whole, tokens], dim=1)
    for block in vit.blocks[first:last]:
        tokens = block(tokens)
    return vit.norm(tokens) if last == DEPTH else tokens
