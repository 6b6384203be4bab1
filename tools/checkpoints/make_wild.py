"""Checkpoints as people have them, made small: python make_wild.py FOLDER

Writes files of tiny Vision Transformers with random weights (width 16, 2 blocks, 2 heads) in the wrappings,
namings and variants of public bug reports about other tools, and `cases.json`: for each file what its user settles,
and either the recording that must come out or words that must stand in the one sentence of refusal. Recordings
come from the code that defines each model (timm, transformers).

Needs torch 2.15, timm 1.0.31, transformers 5.24, safetensors. The results are in crates/vitscope-vit/tests/wild.
"""

import json
import re
import sys
from collections import OrderedDict
from functools import partial
from pathlib import Path

import torch
import transformers as hf
from safetensors.torch import save_file
from timm.layers import QuickGELU
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

OUT = Path(sys.argv[1])
WIDTH, DEPTH, HEADS, PATCH, SIDE = 16, 2, 2, 4, 16
IMAGENET = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
CASES = []


def shake(model, seed):
    """Every parameter random, so that whatever is left out shows in the numbers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif re.search(r"ls[12]|lambda|gamma", name):
                parameter.copy_(0.5 + 0.1 * noise)
            elif parameter.ndim == 1 or re.search("token|position|pos_embed", name):
                parameter.copy_(0.3 * noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
    return model.eval()


def vit(seed, kind=VisionTransformer, side=SIDE, patch=PATCH, **more):
    options = dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=2, num_classes=3)
    if kind is VisionTransformer:
        options["dynamic_img_size"] = True
    return shake(kind(img_size=side, patch_size=patch, **{**options, **more}), seed)


def weights(model):
    return OrderedDict((name, tensor.clone()) for name, tensor in model.state_dict().items())


def under(prefix, tensors):
    return OrderedDict((prefix + name, tensor) for name, tensor in tensors.items())


def picture(seed, height=SIDE, width=SIDE):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def record(model, image, last=True):
    """What a timm model computes, under the names of recordings."""
    out, hooks = {"input": image}, []
    for index, block in enumerate(model.blocks):
        def split(_, __, y, index=index):
            for name, part in zip(("query", "key", "value"), y.split(model.embed_dim, -1)):
                out[f"block{index}.{name}"] = part
        hooks.append(block.attn.qkv.register_forward_hook(split))
        hooks.append(block.register_forward_hook(
            lambda _, __, y, index=index: out.__setitem__(f"block{index}.token", y)))
    hooks.append(model.blocks[0].register_forward_pre_hook(lambda _, a: out.__setitem__("embed", a[0])))
    y = model.forward_features(image)
    for hook in hooks:
        hook.remove()
    if last:
        out["final_norm"] = y
    return {name: tensor.clone().contiguous() for name, tensor in out.items()}


@torch.no_grad()
def record_hf(model, image, final):
    """The same of a transformers model; `final` names its last norm."""
    words = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "query": "query", "key": "key", "value": "value"}
    out, hooks, modules = {"input": image}, [], dict(model.named_modules())
    for name, module in modules.items():
        part = re.search(r"layers?\.(\d+)\..*?(q_proj|k_proj|v_proj|query|key|value)$", name)
        block = re.search(r"layers?\.(\d+)$", name)
        if part:
            key = f"block{part[1]}.{words[part[2]]}"
            hooks.append(module.register_forward_hook(lambda _, __, y, key=key: out.__setitem__(key, y)))
        elif block:
            key = f"block{block[1]}.token"
            hooks.append(module.register_forward_hook(
                lambda _, __, y, key=key: out.__setitem__(key, y[0] if isinstance(y, tuple) else y)))
    model(pixel_values=image)
    for hook in hooks:
        hook.remove()
    out["final_norm"] = modules[final](out[f"block{DEPTH - 1}.token"])
    return {name: tensor.clone().contiguous() for name, tensor in out.items()}


def keep(name, recording):
    OUT.mkdir(parents=True, exist_ok=True)
    save_file(recording, OUT / f"{name}.expected.safetensors")
    return name


def case(file, content=None, expected=None, says=(), notes=(), config=None, processor=None, **settle):
    """One case: a file with this content, what its user settles, and what must come of it."""
    path = OUT / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif file.endswith(".safetensors"):
        save_file({name: tensor.contiguous() for name, tensor in content.items()}, path)
    elif content is not None:
        torch.save(content, path)
    for name, json_content in (("config.json", config), ("preprocessor_config.json", processor)):
        if json_content:
            (path.parent / name).write_text(json.dumps(json_content) + "\n")
    CASES.append(dict(file=file, settle=settle, expected=expected, says=list(says), notes=list(notes)))


@torch.no_grad()
def record_joint(model, image, last):
    """What timm's Eva and Beit classes compute, whose joint bias is not where a hook would see it."""
    out, hooks = {"input": image}, []
    for index, block in enumerate(model.blocks):
        def project(_, __, y, index=index, attn=block.attn):
            if attn.qkv is None:
                parts = attn.q_proj(y), attn.k_proj(y), attn.v_proj(y)
            else:
                bias = attn.qkv.bias
                if getattr(attn, "q_bias", None) is not None:
                    bias = torch.cat((attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias))
                parts = torch.nn.functional.linear(y, attn.qkv.weight, bias).chunk(3, -1)
            for name, part in zip(("query", "key", "value"), parts):
                out[f"block{index}.{name}"] = part
        hooks.append(block.norm1.register_forward_hook(project))
        hooks.append(block.register_forward_hook(
            lambda _, __, y, index=index: out.__setitem__(f"block{index}.token", y)))
    y = model.forward_features(image)
    for hook in hooks:
        hook.remove()
    if last:
        out["final_norm"] = y
    return {name: tensor.clone().contiguous() for name, tensor in out.items()}


# ---- wrappings -------------------------------------------------------------------------------------------
plain, average, student = vit(1), vit(2), vit(3)
base, ema, raw = weights(plain), weights(average), weights(student)
image = picture(10)
PLAIN, AVERAGE, STUDENT = (keep(name, record(model, image)) for name, model in
                           (("plain", plain), ("average", average), ("student", student)))
MAE = dict(family="mae", format="timm", heads=HEADS)


def lightning(tensors):
    return {"epoch": 1, "global_step": 10, "pytorch-lightning_version": "2.4.0", "state_dict": tensors,
            "loops": {"fit_loop": {"epoch_progress": {"total": {"ready": 1}}}},
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
            "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3)}}}],
            "hyper_parameters": {"lr": 0.1}}


case("lightning_model.ckpt", lightning({**under("model.", base), "criterion.weight": torch.ones(10)}), PLAIN, **MAE)
case("lightning_compiled.ckpt", lightning(under("model._orig_mod.", base)), PLAIN, **MAE)
case("lightning_heads.ckpt", lightning({**under("backbone.", base), "projection_head.layers.0.weight":
     torch.randn(4, WIDTH), "online_classifier.weight": torch.randn(4, WIDTH)}), PLAIN, **MAE)
case("lightning_teacher.ckpt", lightning({**under("student_backbone.", raw), **under("teacher_backbone.", ema)}),
     AVERAGE, notes=["teacher_backbone", "--backbone state_dict.student_backbone"], **MAE)
case("lightning_teacher.ckpt", None, STUDENT, backbone="student_backbone", **MAE)
case("compiled.pth", under("_orig_mod.", base), PLAIN, **MAE)
case("compiled_ddp.pth", under("_orig_mod.module.", base), PLAIN, **MAE)
case("state_dict_ema.pth.tar", {"epoch": 1, "arch": "vit", "state_dict": raw, "state_dict_ema": ema,
     "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}}, AVERAGE, notes=["state_dict_ema"], **MAE)
case("state_dict_ema.pth.tar", None, STUDENT, backbone="state_dict", **MAE)
case("model_ema.pth", {"model": raw, "model_ema": ema, "epoch": 1}, AVERAGE, notes=["model_ema"], **MAE)
case("averaged_model.pth", {"state_dict": {**under("module.", base), "n_averaged": torch.tensor(5)}}, PLAIN, **MAE)
case("two_encoders.safetensors", {**under("image_encoder.", raw), **under("ema_image_encoder.", ema)}, AVERAGE,
     notes=["ema_image_encoder"], **MAE)
case("target_encoder.pth", {"encoder": under("module.", raw), "target_encoder": under("module.", ema),
     "predictor": {"module.blocks.0.weight": torch.zeros(3)}, "opt": {}, "loss": 0.1}, AVERAGE,
     notes=["target_encoder"], **MAE)
case("moco_like.pth", {"state_dict": {**under("module.encoder_q.", raw), **under("module.encoder_k.", ema),
     "module.queue": torch.zeros(WIDTH, 8)}}, STUDENT, notes=["encoder_q"], **MAE)
case("two_towers.safetensors", {**under("rgb.", raw), **under("thermal.", ema)}, None,
     says=["rgb", "thermal", "--backbone rgb"], **MAE)
case("depth.pth", {**under("pretrained.", base), "depth_head.projects.0.weight": torch.zeros(8, WIDTH, 1, 1),
     "depth_head.scratch.stem.weight": torch.zeros(8, 3, 3, 3)}, PLAIN, **MAE)
case("checkpoint_wrapped.pth", OrderedDict((re.sub(r"^(blocks\.\d+)\.", r"\1._checkpoint_wrapped_module.", name), t)
     for name, t in base.items()), PLAIN, **MAE)
case("chunked.pth", {"model": under("teacher.backbone.", OrderedDict((re.sub(r"^blocks\.(\d+)\.", r"blocks.\1.\1.", name),
     t) for name, t in base.items()))}, PLAIN, **MAE)
case("student_only.pth", {"student": under("module.backbone.", base)}, PLAIN, notes=["student"], **MAE)
for entry in ("ema", "net", "backbone", "encoder", "anything"):
    case(f"entry_{entry}.pth", {entry: base, "epoch": 1}, PLAIN, **MAE)
for prefix in ("vit.", "encoder_q.", "net.model.backbone.", "a.b.c.d."):
    case(f"prefix_{prefix.replace('.', '_')}.pth", {"state_dict": under(prefix, base)}, PLAIN, **MAE)
case("scores.pth", {**base, "best_acc": torch.tensor(0.5), "step": torch.tensor(3), "my_probe.weight":
     torch.zeros(7, WIDTH), "my_probe.bias": torch.zeros(7)}, PLAIN, **MAE)
case("adapter.pth", {**base, "blocks.0.adapter.weight": torch.zeros(4, WIDTH)}, None,
     says=["adapter.weight", "--draft"], **MAE)
case("prompts.pth", {**base, "prompt_tokens": torch.zeros(1, 4, WIDTH)}, None, says=["prompt_tokens", "--draft"], **MAE)
case("one_of_two_lacks.pth", {"model": raw, "model_ema": OrderedDict(list(ema.items())[:-4])}, None,
     says=["lacks"], **MAE)
case("module.pt", plain, PLAIN, **MAE)
case("list.pth", [base, {"epoch": 1}], PLAIN, **MAE)

# ---- what stands beside, and what does not ----------------------------------------------------------------
v2 = vit(4, side=28, patch=14, init_values=0.5, num_classes=0)
odd = picture(11, 42, 56)
case("timm_dinov2.pth", weights(v2), None, says=["--layout official|timm", "--heads"])
case("timm_dinov2.pth", None, keep("timm_dinov2", record(v2, odd)), format="timm", heads=HEADS)
case("nothing_beside.pth", {"model": base}, None, says=["--family supervised|", "--layout official|timm", "--heads"])


def timm_config(architecture, tag, **more):
    arguments = dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, img_size=SIDE, patch_size=PATCH)
    return dict(architecture=architecture, model_args={**arguments, **more},
                pretrained_cfg=dict(tag=tag, input_size=[3, SIDE, SIDE], mean=[0.5] * 3, std=[0.5] * 3))


size = dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=2 * WIDTH,
            image_size=SIDE, patch_size=PATCH)


def config_of(model):
    return json.loads(model.config.to_json_string())


wide = shake(hf.ViTModel(hf.ViTConfig(**{**size, "image_size": (8, 36)})), 5)
rename = {"attention.q_proj": "attention.attention.query", "attention.k_proj": "attention.attention.key",
          "attention.v_proj": "attention.attention.value", "attention.o_proj": "attention.output.dense",
          "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}


def as_saved(model):
    """The names that transformers writes, which are not those that it has in memory."""
    path = OUT / "saved"
    model.save_pretrained(path)
    from safetensors.torch import load_file
    tensors = load_file(path / "model.safetensors")
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    return tensors


case("wide/model.safetensors", as_saved(wide), keep("wide", record_hf(wide, picture(12, 8, 36), "layernorm")),
     config={**config_of(wide), "model_type": "vit"})
tuned = shake(hf.ViTForImageClassification(hf.ViTConfig(**size, num_labels=3)), 6)
case("tuned/model.safetensors", as_saved(tuned), keep("tuned", record_hf(tuned.vit, image, "layernorm")),
     notes=["0.485", "preprocessor_config.json", "--mean"], family="supervised", config={**config_of(tuned), "model_type": "vit"},
     processor=dict(image_mean=IMAGENET["mean"], image_std=IMAGENET["std"], size={"height": 224, "width": 224}, resample=3))
scaled = vit(7, init_values=1e-5)
case("scaled/model.safetensors", weights(scaled), keep("scaled", record(scaled, picture(13, 20, 24))),
     config=timm_config("vit_base_patch16_224", "sw_in1k", init_values=1e-5))
clip = vit(8, pre_norm=True, act_layer=QuickGELU, norm_layer=partial(torch.nn.LayerNorm, eps=1e-5), num_classes=4)
case("metaclip/model.safetensors", weights(clip), keep("metaclip", record(clip, picture(14, 20, 24))),
     config=timm_config("vit_base_patch16_clip_quickgelu_224", "metaclip_2pt5b"))
# Trained with QuickGELU, and tuned by timm with GELU.
clip = vit(63, pre_norm=True, norm_layer=partial(torch.nn.LayerNorm, eps=1e-5), num_classes=4)
case("clip_tuned/model.safetensors", weights(clip), keep("clip_tuned", record(clip, picture(14, 20, 24))),
     config=timm_config("vit_base_patch16_clip_224", "openai_ft_in12k_in1k"))
no_class = vit(9, no_embed_class=True, init_values=1e-6)
case("deit3/model.safetensors", weights(no_class), keep("deit3", record(no_class, picture(15, 20, 24))),
     config=timm_config("deit3_base_patch16_224", "fb_in1k", no_embed_class=True))
distilled = vit(20, kind=VisionTransformerDistilled)
case("distilled.pth", {"model": weights(distilled)}, keep("distilled", record(distilled, image)), heads=HEADS)

# ---- namings and variants ----------------------------------------------------------------------------------
for name, model, final, seed, more in (
        ("memory_vit", hf.ViTModel(hf.ViTConfig(**size)), "layernorm", 31, dict(family="supervised")),
        ("memory_dinov2", hf.Dinov2Model(hf.Dinov2Config(**{**size, "mlp_ratio": 2})), "layernorm", 32, {}),
        ("memory_dinov3", hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**size, num_register_tokens=4)), "norm", 33, {})):
    shake(model, seed)
    case(f"{name}.pth", weights(model), keep(name, record_hf(model, image, final)), heads=HEADS, **more)


def mmpretrain(tensors):
    out = OrderedDict()
    for name, tensor in tensors.items():
        for old, new in (("patch_embed.proj.", "patch_embed.projection."), ("blocks.", "layers."), (".norm1.", ".ln1."),
                         (".norm2.", ".ln2."), ("mlp.fc1", "ffn.layers.0.0"), ("mlp.fc2", "ffn.layers.1")):
            name = name.replace(old, new)
        name = name.replace("norm.", "ln1.") if name.startswith("norm.") else name
        out["head.layers." + name if name.startswith("head.") else "backbone." + name] = tensor
    return out


case("mmpretrain.pth", {"meta": {"epoch": 1}, "state_dict": mmpretrain(base), "optimizer": {}}, PLAIN, family="mae", heads=HEADS)
pooled = vit(21, global_pool="avg", fc_norm=True)
case("pooled.pth", {"model": weights(pooled)}, keep("pooled", record(pooled, image, last=False)), notes=["fc_norm"], **MAE)
half = vit(22)
with torch.no_grad():
    for block in half.blocks:
        block.attn.qkv.bias[WIDTH : 2 * WIDTH] = 0
split = OrderedDict()
for name, tensor in weights(half).items():
    if name.endswith("attn.qkv.bias"):
        split[name.replace("qkv.bias", "q_bias")] = tensor[:WIDTH].clone()
        split[name.replace("qkv.bias", "v_bias")] = tensor[2 * WIDTH :].clone()
    else:
        split[name] = tensor
case("split_bias.pth", {"model": under("encoder.", split)}, keep("split_bias", record(half, image)), **MAE)

# ---- families beside the first ten ---------------------------------------------------------------------------
def eva(seed, **more):
    options = dict(img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, num_classes=0,
                   use_rot_pos_emb=True, ref_feat_shape=(4, 4), dynamic_img_size=True)
    return shake(Eva(**{**options, **more}), seed)


odd_image = picture(16, 20, 24)
SWIGLU = dict(swiglu_mlp=True, mlp_ratio=4 * 2 / 3)
PERCEPTION = dict(attn_type="rope", use_pre_transformer_norm=True, rope_grid_offset=1.0, rope_grid_indexing="xy",
                  mlp_ratio=2, norm_layer=partial(torch.nn.LayerNorm, eps=1e-5))
for name, model, last in (
        ("eva02_small", eva(41, **SWIGLU), False),
        ("eva02_base", eva(42, qkv_fused=False, scale_mlp=True, **SWIGLU), False),
        ("pe_core", eva(43, global_pool="map", attn_pool_num_heads=2, attn_pool_mlp_ratio=2, **PERCEPTION), True),
        ("pe_spatial", eva(44, use_post_transformer_norm=False, use_fc_norm=False, **PERCEPTION), False)):
    case(f"{name}.safetensors", weights(model), keep(name, record_joint(model, odd_image, last)), heads=HEADS,
         **(dict(family="pe") if name == "pe_spatial" else {}))
# Tuned at another size: the grid of its rotary positions stays that of its training.
tuned = eva(62, img_size=24, **{**SWIGLU, "ref_feat_shape": (16, 16)})
case("eva02_tuned/model.safetensors", weights(tuned), keep("eva02_tuned", record_joint(tuned, odd_image, False)),
     config=timm_config("eva02_tiny_patch14_336", "mim_in22k_ft_in1k", img_size=24))
siglip = vit(45, class_token=False, global_pool="map", num_classes=0)
case("siglip_timm.safetensors", weights(siglip), keep("siglip_timm", record(siglip, odd_image)), family="siglip",
     format="timm", heads=HEADS)
tower = shake(hf.SiglipVisionModel(hf.SiglipVisionConfig(**size, hidden_act="gelu_pytorch_tanh")), 46)
names = dict(tower.named_modules())
last_norm = next(name for name in names if name.endswith("post_layernorm"))
case("siglip/model.safetensors", as_saved(tower), keep("siglip", record_hf(tower, image, last_norm)),
     config={**config_of(tower), "model_type": "siglip_vision_model"})
jepa = shake(hf.IJepaModel(hf.IJepaConfig(**size)), 47)
case("ijepa/model.safetensors", as_saved(jepa), keep("ijepa", record_hf(jepa, image, "layernorm")),
     config={**config_of(jepa), "model_type": "ijepa"})
trained = vit(48, class_token=False, global_pool="avg", fc_norm=False, num_classes=0)
case("jepa_training.pth.tar", {"encoder": under("module.", weights(vit(49, class_token=False, global_pool="avg",
     fc_norm=False, num_classes=0))), "predictor": {"module.predictor_norm.weight": torch.zeros(8)},
     "target_encoder": under("module.", weights(trained)), "opt": {}, "epoch": 3},
     keep("jepa_training", record(trained, image)), notes=["target_encoder"], format="timm", heads=HEADS)
case("rope/model.safetensors", base, None, says=["vit_small_patch16_rope_ape_224", "--features"], family="supervised",
     config=timm_config("vit_small_patch16_rope_ape_224", "naver_in1k"))

# ---- containers ----------------------------------------------------------------------------------------------
case("graph.onnx", b"\x08\x0a\x12\x07pytorch\x1a\x032.0\x3a\x10\x0a\x00\x12\x0cmain_graph\x5a\x00", None, says=["ONNX", "state_dict"])
case("distributed/__0_0.distcp", b"PK\x03\x04" + bytes(60), None, says=["torch.distributed", "dcp_to_torch"])
(OUT / "distributed/.metadata").write_bytes(b"\x80\x04N.")
case("distributed", None, None, says=["torch.distributed", "dcp_to_torch"])
case("quantized.safetensors", {name: (tensor * 10).to(torch.int8) if name.endswith("fc1.weight") else tensor
     for name, tensor in base.items()}, None, says=["i8", "dequantize"], **MAE)

(OUT / "cases.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in CASES) + "\n]\n")
