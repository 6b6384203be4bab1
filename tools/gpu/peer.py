"""The forward pass of a ViT-B/16 at 320 px by PyTorch and timm, with hooks on every facet of its 12 layers.

One line per precision and batch: images/s (median of 12), from images that lie on the card.
"""
import time

import timm
import torch

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
taps = {}


def model(dtype):
    torch.manual_seed(0)
    vit = timm.create_model("vit_base_patch16_224", pretrained=False, img_size=320, num_classes=0)
    vit = vit.eval().cuda().to(dtype)
    for i, block in enumerate(vit.blocks):
        block.attn.qkv.register_forward_hook(lambda m, x, y, i=i: taps.__setitem__(f"qkv.{i}", y))
        block.register_forward_hook(lambda m, x, y, i=i: taps.__setitem__(f"token.{i}", y))
    return vit


for dtype, name in ((torch.bfloat16, "bf16"), (torch.float32, "f32"), (torch.float16, "f16")):
    vit = model(dtype)
    for batch in (8, 32, 64):
        x = torch.randn(batch, 3, 320, 320, device="cuda", dtype=dtype)
        times = []
        with torch.no_grad():
            for i in range(16):
                start = time.perf_counter()
                vit(x)
                torch.cuda.synchronize()
                times.append(time.perf_counter() - start)
        times = sorted(times[4:])
        print(f"peer {name} {batch} {batch / times[len(times) // 2]:.0f}", flush=True)
