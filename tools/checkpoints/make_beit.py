"""BEiT, BEiT v2 and Data2Vec, and averages that say little of themselves, made small: python make_beit.py FOLDER

The same as make_wild.py (which lies beside it), for models whose blocks add relative positions to the scores of their
attention. Recordings come from timm's Beit and transformers' BeitModel and Data2VecVisionModel, at the size of training and,
by transformers, at another one. Writes `beit.json`.

Needs torch 2.15, timm 1.0.31, transformers 5.24, safetensors. The results are in crates/vitscope-vit/tests/wild.
"""

import json
import sys
from collections import OrderedDict
from pathlib import Path

import torch
import transformers as hf
from timm.layers import SwiGLUPacked
from timm.models.beit import Beit

text = (Path(__file__).parent / "make_wild.py").read_text()
exec(text[: text.index("# ---- wrappings")])


def beit(seed, **more):
    options = dict(img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=2,
                   num_classes=3, use_abs_pos_emb=False, init_values=0.1)
    return shake(Beit(**{**options, **more}), seed)


@torch.no_grad()
def record_named(model, encoder, image, resized=False):
    """The same of a transformers model without a norm after its last block."""
    words = ("query", "key", "value")
    out, hooks = {"input": image}, []
    for index, layer in enumerate(encoder):
        modules = dict(layer.named_modules())
        for word in words:
            found = [m for name, m in modules.items() if name.endswith(word) or name.endswith(f"{word[0]}_proj")]
            assert len(found) == 1, list(modules)
            hooks.append(found[0].register_forward_hook(
                lambda _, __, y, key=f"block{index}.{word}": out.__setitem__(key, y)))
        hooks.append(layer.register_forward_hook(
            lambda _, __, y, key=f"block{index}.token": out.__setitem__(key, y[0] if isinstance(y, tuple) else y)))
    model(pixel_values=image, **({"interpolate_pos_encoding": True} if resized else {}))
    for hook in hooks:
        hook.remove()
    return {name: tensor.clone().contiguous() for name, tensor in out.items()}


image = picture(10)
own, shared = beit(61, use_rel_pos_bias=True), beit(62, use_shared_rel_pos_bias=True)
last = beit(63, use_rel_pos_bias=True, global_pool="token", init_values=None)
case("beit_own.pth", weights(own), keep("beit_own", record_joint(own, image, False)), notes=["fc_norm", "BEiT v2"])
official = {**weights(shared), "rel_pos_bias.relative_position_index": torch.zeros(17, 17, dtype=torch.int64),
            "mask_token": torch.zeros(1, 1, WIDTH), "lm_head.weight": torch.zeros(9, WIDTH)}
case("beit_shared.pth", {"model": official}, keep("beit_shared", record_joint(shared, image, False)), format="official")
case("beit_last.safetensors", weights(last), keep("beit_last", record_joint(last, image, True)))

size = dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=2 * WIDTH,
            image_size=SIDE, patch_size=PATCH, layer_scale_init_value=0.1)


def saved(model, name):
    """The names that transformers writes, and its config."""
    path = OUT / "saved"
    model.save_pretrained(path)
    from safetensors.torch import load_file
    tensors, config = load_file(path / "model.safetensors"), json.loads((path / "config.json").read_text())
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    return tensors, {**config, "model_type": name}


for name, kind, config, seed, more in (
        ("beit", hf.BeitModel, hf.BeitConfig, 64, dict(use_relative_position_bias=True)),
        ("data2vec-vision", hf.Data2VecVisionModel, hf.Data2VecVisionConfig, 65, dict(use_shared_relative_position_bias=True))):
    model = shake(kind(config(**size, **more)), seed)
    tensors, written = saved(model, name)
    folder = name.replace("-", "_")
    layers = model.layers if hasattr(model, "layers") else model.encoder.layer
    case(f"{folder}/model.safetensors", tensors, keep(folder, record_named(model, layers, image)), config=written,
         notes=["fc_norm"])
    other = picture(17, 20, 24)
    case(f"{folder}/model.safetensors", tensors, keep(f"{folder}_wide", record_named(model, layers, other, name != "beit")))
    if name == "beit":
        case("memory_beit.pth", under("beit.", weights(model)), folder)
both = beit(66, use_rel_pos_bias=True, use_abs_pos_emb=True)
case("beit_both.pth", weights(both), None, says=["relative positions (BEiT)", "no position table", "pos_embed"])

pose = shake(hf.VitPoseBackbone(hf.VitPoseBackboneConfig(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
             mlp_ratio=2, image_size=[16, 12], patch_size=[4, 4])), 67)
tensors, written = saved(pose, "vitpose_backbone")
case("vitpose/model.safetensors", tensors, None, says=["ViTPose", "border of zeros", "--features"], config=written)

# ---- averages that say little of themselves, and a gate that says nothing ------------------------------------
plain, average = vit(1), vit(2)
base, ema = weights(plain), weights(average)
MAE = dict(family="mae", format="timm", heads=HEADS)
keep("plain", record(plain, image)), keep("average", record(average, image))
of_module = {"model_ema." + name.replace(".", ""): tensor for name, tensor in ema.items()}
case("lit_ema_module.ckpt", {"state_dict": {**under("model.", base), **of_module, "model_ema.decay": torch.tensor(0.9)}},
     "average", notes=["model_ema", "--backbone state_dict.model"], **MAE)
listed = dict(decay=0.99, num_updates=5, shadow_params=list(ema.values()), collected_params=[])
case("shadow_list.pth", {"model": base, "ema": listed}, "plain", notes=["ema.shadow_params", "--backbone model", "no names"], **MAE)
case("ema_callback.ckpt", {"state_dict": under("model.", base), "callbacks": {"EMA": {"ema_weights": list(ema.values())}},
     "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}]}, "plain", notes=["callbacks.EMA.ema_weights", "no names"], **MAE)
case("shadow_alone.pth", dict(shadow_params=list(ema.values()), decay=0.9), None, says=["with numbers in place of names", "copy_to"])
gate = vit(5, mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU, init_values=0.5)
case("gate.pth", weights(gate), keep("gate", record(gate, image)), notes=["SwiGLU, gate first", "GluMlp", "config.json"],
     family="dinov2", format="timm", heads=HEADS)
case("module_named/model.safetensors", base, None, says=["block_fn ResPostBlock", "--features"],
     config=dict(architecture="vit_tiny_patch4_16", model_args=dict(embed_dim=WIDTH, num_heads=HEADS, block_fn="ResPostBlock"),
                 pretrained_cfg=dict(tag="mae", mean=[0.5] * 3, std=[0.5] * 3)))
case("mean_255/model.safetensors", base, None, says=["count from 0 to 255"],
     config=dict(architecture="vit_tiny_patch4_16", model_args=dict(embed_dim=WIDTH, num_heads=HEADS),
                 pretrained_cfg=dict(tag="mae", mean=[123.675, 116.28, 103.53], std=[58.4, 57.1, 57.4])))
case("not_rescaled/model.safetensors", base, None, says=["do_rescale = false", "--mean"],
     processor=dict(do_rescale=False, image_mean=[0.5] * 3, image_std=[0.5] * 3), **MAE)
taken = OrderedDict((name, tensor[:, :1].repeat(1, 9, 1) if name == "pos_embed" else tensor) for name, tensor in base.items())
same = vit(1, side=12, no_embed_class=True)
same.load_state_dict(taken)
case("square_by_chance.pth", taken, keep("square_by_chance", record(same.eval(), picture(18, 12, 12))),
     notes=["3 x 3, without a place for the class token", "no_embed_class"], **MAE)
repeated = OrderedDict(base)
repeated["blocks.0.norm1.bias"] = torch.zeros(1).expand(WIDTH)
case("repeated.pth", repeated, None, says=["repeats the elements", ".contiguous()"], **MAE)
case("arrays.pth", {name: tensor.numpy() for name, tensor in list(base.items())[:2]}, None, says=["torch.as_tensor"], **MAE)

(OUT / "beit.json").write_text(json.dumps(CASES, indent=1) + "\n")
