"""A tiny CAPI checkpoint with what the authors' code computes from it: python make_capi.py CODE FOLDER

CODE is a checkout of github.com/facebookresearch/capi (model.py at 0145b88). Needs torch and safetensors, and what
model.py imports. The results are in crates/vitscope-vit/tests/wild: `capi_vitt4_test.pth` with its recordings at a
square, a wide and a one-row grid, and a file whose blocks turn by different frequencies, which is refused.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, sys.argv[1])
from model import EncoderDecoder  # noqa: E402

OUT = Path(sys.argv[2])
torch.manual_seed(41)
model = EncoderDecoder(
    patch_size=4,
    transformers_kwargs=dict(embed_dim=16, drop_path_rate=0.0, block_kwargs=dict(attn_kwargs=dict(num_heads=2))),
    encoder_kwargs=dict(depth=2),
    decoder_kwargs=dict(depth=1),
).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.copy_(1 + 0.2 * torch.randn(parameter.shape))
        elif not name.endswith("freqs"):
            parameter.copy_(torch.randn(parameter.shape) / max(parameter[0].numel(), 1) ** 0.5)
for module in model.modules():
    if hasattr(module, "_device_weight_init"):
        module._device_weight_init()


@torch.no_grad()
def record(image):
    out, hooks = {"input": image}, []

    def keep(name):
        return lambda _, __, y: out.__setitem__(name, y)

    for index, block in enumerate(model.encoder.blocks):
        attention = block.residual1.fn
        for name, module in (("query", attention.q_proj), ("key", attention.k_proj), ("value", attention.v_proj)):
            hooks.append(module.register_forward_hook(keep(f"block{index}.{name}")))
        hooks.append(block.register_forward_hook(keep(f"block{index}.token")))
    last = len(model.encoder.blocks)
    out["final_norm"], _ = model.forward_features(image, None, None, enc_layer=last, dec_layer=None)
    for hook in hooks:
        hook.remove()
    return {name: tensor.clone().contiguous() for name, tensor in out.items()}


for name, side in (("capi", (16, 16)), ("capi_wide", (8, 20)), ("capi_row", (4, 12))):
    save_file(record(torch.randn(1, 3, *side)), OUT / f"{name}.expected.safetensors")
weights = {f"backbone.{name}": tensor for name, tensor in model.state_dict().items()}
weights["head.last_layer.weight"] = torch.randn(5, 16)
torch.save(weights, OUT / "capi_vitt4_test.pth")
weights["backbone.encoder.blocks.1.residual1.fn.rope.freqs"] = torch.randn(2, 8)
torch.save(weights, OUT / "capi_other_freqs.pth")
