"""The Vision Transformer that both models share, in timm's code and names."""

import torch
from timm.layers import set_fused_attn
from timm.models.vision_transformer import VisionTransformer

# On a CPU the backward pass of the fused attention takes half of a training step (torch 2.15).
set_fused_attn(False)

SIDE, PATCH, WIDTH, DEPTH, HEADS = 128, 8, 96, 6, 3
GRID = SIDE // PATCH


def backbone() -> VisionTransformer:
    """A fresh one, for images of 128 pixels: patches of 8, learned positions, one class token."""
    return VisionTransformer(img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH,
                             num_heads=HEADS, num_classes=0, global_pool="")


def normalized(images: torch.Tensor) -> torch.Tensor:
    """`[B, H, W, 3]` bytes to `[B, 3, H, W]` in about [-1, 1]: mean and deviation are 0.5."""
    return images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def run(vit: VisionTransformer, tokens: torch.Tensor) -> torch.Tensor:
    """Patch tokens that have their positions, through all blocks: `[B, 1 + n, WIDTH]`, class first."""
    first = (vit.cls_token + vit.pos_embed[:, :1]).expand(len(tokens), -1, -1)
    return vit.norm(vit.blocks(torch.cat([first, tokens], dim=1)))
