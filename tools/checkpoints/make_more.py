"""More checkpoints as people have them: python make_more.py FOLDER

As make_wild.py, whose helpers it uses (and whose files it writes again), for what people reported later: averages
under joined names, adapters, weights kept as something else than weights, empty tensors, models without a class
token, DeiT and MSN and SigLIP 2 NaFlex in transformers' naming. Writes `more.json` beside `cases.json`.

Needs torch 2.15, timm 1.0.31, transformers 5.24, safetensors. The results are in crates/vitscope-vit/tests/wild.
"""

import make_wild as wild
from timm.layers import SwiGLUPacked
from make_wild import (CASES, DEPTH, HEADS, IMAGENET, MAE, OUT, PATCH, PLAIN, SIDE, WIDTH, AVERAGE, STUDENT, as_saved, base,
                       case, config_of, ema, hf, image, json, keep, picture, raw, record, record_hf, shake, size, torch,
                       under, vit, weights, timm_config)

CASES.clear()

# ---- averages under joined names -----------------------------------------------------------------------------
joined = {"model_ema." + name.replace(".", ""): tensor for name, tensor in ema.items()}
case("lit_ema.ckpt", {"state_dict": {**under("model.", raw), **{"model_ema.model" + name[10:]: tensor for name, tensor in
     joined.items()}, "model_ema.decay": torch.tensor(0.9), "model_ema.num_updates": torch.tensor(3)}}, AVERAGE,
     notes=["model_ema.model", "--backbone state_dict.model"], **MAE)
case("lit_ema.ckpt", None, STUDENT, backbone="state_dict.model", **MAE)
mm = wild.mmpretrain(raw)
case("mm_ema.pth", {"meta": {}, "state_dict": {**mm, **{"ema_" + name.replace(".", "_"): tensor for name, tensor in
     wild.mmpretrain(ema).items()}}}, AVERAGE, notes=["ema.backbone"], family="mae", heads=HEADS)

# ---- what is kept as something else ----------------------------------------------------------------------------
def replaced(change):
    out = {}
    for name, tensor in base.items():
        out.update(change(name, tensor) or {name: tensor})
    return out


def qkv(name):
    return name.endswith("attn.qkv.weight")


def lora(name, tensor):
    if qkv(name):
        stem = name[: -len("weight")]
        return {stem + "base_layer.weight": tensor, stem + "lora_A.default.weight": torch.ones(2, WIDTH),
                stem + "lora_B.default.weight": torch.ones(3 * WIDTH, 2)}
    if name.endswith("attn.qkv.bias"):
        return {name.replace("qkv.bias", "qkv.base_layer.bias"): tensor}


case("lora_full.pth", under("base_model.model.", replaced(lora)), None, says=["adapters", "merge_and_unload()"])
case("lora_beside.pth", {**base, "blocks.0.attn.qkv.lora_A": torch.ones(2, WIDTH), "blocks.0.attn.qkv.lora_B":
     torch.ones(3 * WIDTH, 2)}, None, says=["adapters", "loralib"], **MAE)
case("adapter/adapter_model.safetensors", {f"base_model.model.encoder.layer.{i}.attention.attention.query.lora_{side}.weight":
     torch.ones(shape) for i in range(2) for side, shape in (("A", (2, WIDTH)), ("B", (WIDTH, 2)))}, None,
     says=["an adapter", "google/vit-base-patch16-224", "merge_and_unload()"])
(OUT / "adapter/adapter_config.json").write_text('{"base_model_name_or_path": "google/vit-base-patch16-224", "r": 2}\n')
CASES.append({**CASES[-1], "file": "adapter"})
normed = torch.nn.utils.parametrizations.weight_norm
# Merged where the scale stands beside.
generator = torch.Generator().manual_seed(65)
changes = {f"blocks.{i}.{part}": (torch.randn(2, inputs, generator=generator), torch.randn(outputs, 2, generator=generator))
           for i in range(DEPTH) for part, inputs, outputs in (("attn.qkv", WIDTH, 3 * WIDTH), ("mlp.fc2", 2 * WIDTH, WIDTH))}


def adapted(name, tensor):
    stem, _, leaf = name.rpartition(".")
    if stem in changes:
        a, b = changes[stem]
        more = {f"{stem}.lora_A.default.weight": a, f"{stem}.lora_B.default.weight": b} if leaf == "weight" else {}
        return {f"{stem}.base_layer.{leaf}": tensor, **more}


def merged(scale):
    model = vit(1)
    with torch.no_grad():
        for stem, (a, b) in changes.items():
            model.get_submodule(stem).weight += scale * b @ a
    return model


for name, scale, config in (("lora_merged", 1.5, dict(lora_alpha=3, r=2)), ("lora_rooted", 3 / 2**0.5, dict(lora_alpha=3,
                            r=2, use_rslora=True)), ("lora_rank", None, dict(lora_alpha=3, r=8)),
                            ("lora_pattern", None, dict(lora_alpha=3, r=2, alpha_pattern={"qkv": 8}))):
    case(f"{name}/pytorch_model.bin", under("base_model.model.", replaced(adapted)), scale and keep(name,
         record(merged(scale), image)), notes=["adapters", "merged into 4 weights"], says=["adapters", "merge_and_unload()"],
         **MAE)
    (OUT / name / "adapter_config.json").write_text(json.dumps(dict(peft_type="LORA", use_dora=False,
                                                    fan_in_fan_out=False, rank_pattern={}, **config)) + "\n")
model = vit(1)
for block in model.blocks:
    normed(block.mlp.fc1)
case("weight_norm.pth", weights(model), None, says=["size and direction", "_weight_norm"], **MAE)
old = replaced(lambda name, tensor: {name + "_g": tensor.norm(dim=1, keepdim=True), name + "_v": tensor}
               if name.endswith("fc1.weight") else None)
case("weight_norm_old.safetensors", old, None, says=["size and direction", "load_file"], **MAE)
case("spectral.pth", replaced(lambda name, tensor: {name.replace("weight", "parametrizations.weight.original"): tensor}
     if qkv(name) else None), None, says=["parametrization", "remove_parametrizations"], **MAE)
case("pruned.pth", replaced(lambda name, tensor: {name + "_orig": tensor, name + "_mask": torch.ones_like(tensor)}
     if qkv(name) else None), None, says=["pruning", "prune.remove"], **MAE)
case("flat.pth", {"_fsdp_wrapped_module._flat_param": torch.zeros(100), **{
     f"_fsdp_wrapped_module.blocks.{i}._fsdp_wrapped_module._flat_param": torch.zeros(500) for i in range(2)}}, None,
     says=["FSDP", "FULL_STATE_DICT"])
case("zero3.bin", {name: torch.zeros(0) for name in base}, None, says=["ZeRO-3", "zero_to_fp32.py"])
case("nf4.safetensors", replaced(lambda name, tensor: {name: torch.zeros(96, 1, dtype=torch.uint8), name + ".absmax":
     torch.zeros(4), name + ".quant_state.bitsandbytes__nf4": torch.zeros(9, dtype=torch.uint8)} if qkv(name) else None),
     None, says=["bitsandbytes", "dequantize"])
case("gptq.safetensors", replaced(lambda name, tensor: {name.replace("weight", "qweight"): torch.zeros(2, 48,
     dtype=torch.int32), name.replace("weight", "qzeros"): torch.zeros(1, 6, dtype=torch.int32), name.replace("weight",
     "scales"): torch.zeros(1, 48)} if qkv(name) else None), None, says=["GPTQ", "dequantize"])
case("fp8.safetensors", {name: tensor.to(torch.float8_e4m3fn) if tensor.ndim == 2 else tensor for name, tensor in
     base.items()}, None, says=["fp8", "dequantize"], **MAE)
case("fp8_scaled.safetensors", replaced(lambda name, tensor: {name: tensor.to(torch.float8_e4m3fn), name + "_scale":
     torch.ones(1)} if qkv(name) else None), None, says=["quantized", "fp8", "dequantize"])
case("optimizer.pt", {"state": {i: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}
     for i in range(4)}, "param_groups": [{"lr": 0.1}]}, None, says=["optimizer"])
case("weight_norm_head.pth", {**{name: tensor for name, tensor in base.items() if name != "blocks.1.norm2.bias"},
     "head.last_layer.weight_g": torch.ones(5, 1), "head.last_layer.weight_v": torch.ones(5, WIDTH)}, None,
     says=["it lacks blocks.1.norm2.bias"], **MAE)
# What enters the tokens, in the shape of a head.
for name in ("prompt_embeddings", "reg_tokens", "view_embed.weight"):
    case(f"enters_{name}.pth", {**base, name: torch.zeros(4, WIDTH)}, None, says=[name], **MAE)

# ---- families and variants ---------------------------------------------------------------------------------------
odd_image = picture(16, 20, 24)
pooled = vit(51, class_token=False, global_pool="avg", fc_norm=True)
case("classless_pooled.pth", weights(pooled), keep("classless_pooled", record(pooled, odd_image, last=False)),
     notes=["fc_norm"], family="supervised", format="timm", heads=HEADS)
case("classless_pooled.pth", None, None, says=["supervised"], format="timm", heads=HEADS)
registers = vit(52, class_token=False, reg_tokens=4, no_embed_class=True, global_pool="avg", fc_norm=False, init_values=0.5)
case("classless_registers/model.safetensors", weights(registers), keep("classless_registers", record(registers, odd_image)),
     config=timm_config("vit_betwixt_patch16_reg4_gap_256", "sbb_in1k"))
deit = shake(hf.DeiTModel(hf.DeiTConfig(**size)), 53)
case("deit_distilled/model.safetensors", as_saved(deit), keep("deit_distilled", record_hf(deit, image, "layernorm")),
     config={**config_of(deit), "model_type": "deit"})
msn = shake(hf.ViTMSNModel(hf.ViTMSNConfig(**size)), 54)
case("msn/model.safetensors", as_saved(msn), keep("msn", record_hf(msn, image, "layernorm")),
     config={**config_of(msn), "model_type": "vit_msn"})
unknown = shake(hf.ViTModel(hf.ViTConfig(**size), add_pooling_layer=False), 55)
case("unknown_type/model.safetensors", as_saved(unknown), None, says=["config.json beside it, which gives vit,", "--family"],
     config={**config_of(unknown), "model_type": "vit"})
for name, count, seed in (("registers_none", 0, 56), ("registers_two", 2, 57)):
    some = shake(hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**{**size, "mlp_ratio": 2,
                 "num_register_tokens": count})), seed)
    case(f"{name}/model.safetensors", as_saved(some), keep(name, record_hf(some, odd_image, "layernorm")),
         config={**config_of(some), "model_type": "dinov2_with_registers"})
bare = shake(hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**size, num_register_tokens=0)), 58)
case("dinov3_bare/model.safetensors", as_saved(bare), keep("dinov3_bare", record_hf(bare, odd_image, "norm")),
     config={**config_of(bare), "model_type": "dinov3_vit"})
case("registers_told/model.safetensors", as_saved(some), None, says=["registers 4", "show 2"],
     config={**config_of(some), "model_type": "dinov2_with_registers", "num_register_tokens": 4})


@torch.no_grad()
def record_naflex(model, image):
    """SigLIP 2 NaFlex takes patches of rows, columns and channels, and their numbers."""
    patches = image.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    rows, columns = patches.shape[2:4]
    flat = patches.permute(0, 2, 3, 4, 5, 1).reshape(1, rows * columns, -1)

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pixel_values):
            return self.model(pixel_values=flat, pixel_attention_mask=torch.ones(1, rows * columns, dtype=torch.long),
                              spatial_shapes=torch.tensor([[rows, columns]]))

    last = next(name for name, _ in Tower().named_modules() if name.endswith("post_layernorm"))
    return record_hf(Tower(), image, last)


options = {**{key: value for key, value in size.items() if key != "image_size"}, "num_patches": 16,
           "hidden_act": "gelu_pytorch_tanh"}
naflex = shake(hf.Siglip2VisionModel(hf.Siglip2VisionConfig(**options)), 59)
for name, shape in (("naflex", (16, 16)), ("naflex_wide", (12, 24)), ("naflex_large", (36, 28))):
    case("naflex/model.safetensors", as_saved(naflex), keep(name, record_naflex(naflex, picture(60, *shape))),
         config={**config_of(naflex), "model_type": "siglip2_vision_model"})

# ---- other programs' names ---------------------------------------------------------------------------------------
def renamed(tensors, pairs, prefix=""):
    out = {}
    for name, tensor in tensors.items():
        for old, new in pairs:
            name = name.replace(old, new)
        out[prefix + name] = tensor
    return out


case("mmseg.pth", {"state_dict": renamed({name: tensor for name, tensor in base.items() if "head" not in name}, (
     ("patch_embed.proj.", "patch_embed.projection."), ("blocks.", "layers."), (".norm1.", ".ln1."), (".norm2.", ".ln2."),
     ("mlp.fc1", "ffn.layers.0.0"), ("mlp.fc2", "ffn.layers.1"), ("attn.qkv.", "attn.attn.in_proj_"), ("attn.proj.",
     "attn.attn.out_proj."), ("norm.", "ln1.")), "backbone.")}, PLAIN, family="mae", heads=HEADS)
# torchvision's encoder computes what timm's does; its published files have the older names of the feed-forward part.
TORCHVISION = (("cls_token", "class_token"), ("pos_embed", "encoder.pos_embedding"), ("patch_embed.proj", "conv_proj"),
               ("blocks.", "encoder.layers.encoder_layer_"), ("norm1", "ln_1"), ("norm2", "ln_2"), ("attn.qkv.",
               "self_attention.in_proj_"), ("attn.proj", "self_attention.out_proj"), ("head.", "heads.head."))
for file, names in (("vit_b_16-c867db91.pth", ("linear_1", "linear_2")), ("torchvision.pth", ("0", "3"))):
    more = (("mlp.fc1", f"mlp.{names[0]}"), ("mlp.fc2", f"mlp.{names[1]}"))
    tensors = {("encoder.ln." + name[5:] if name.startswith("norm.") else name): tensor for name, tensor in
               renamed(base, TORCHVISION + more).items()}
    case(file, tensors, PLAIN, heads=HEADS)
case("complex.pth", {**base, "freqs_cis": torch.zeros(3, dtype=torch.complex64)}, PLAIN, **MAE)
case("fp8.pth", {name: tensor.to(torch.float8_e4m3fn) if tensor.ndim == 2 else tensor for name, tensor in base.items()},
     None, says=["types of 8 bits", ".float()"])
for name, more in (("timm_registers", dict(reg_tokens=4)), ("timm_registers_apart", dict(reg_tokens=4, no_embed_class=True))):
    some = vit(61, **more)
    case(f"{name}.pth", weights(some), keep(name, record(some, odd_image)), **MAE)
bias_free = shake(hf.ViTModel(hf.ViTConfig(**size, qkv_bias=False)), 62)
case("no_qkv_bias/model.safetensors", as_saved(bias_free), keep("no_qkv_bias", record_hf(bias_free, image, "layernorm")),
     family="supervised", config={**config_of(bias_free), "model_type": "vit"})
case("other_type/model.safetensors", as_saved(msn), keep("other_type", record_hf(msn, image, "layernorm")),
     notes=["model type", "dpt"], family="supervised", config={**config_of(msn), "model_type": "dpt"})
case("post_norm/model.safetensors", base, None, says=["rpn_224", "--features"], family="supervised",
     config=timm_config("vit_base_patch16_rpn_224", "sw_in1k"))
gated = vit(63, mlp_layer=SwiGLUPacked, init_values=0.5)
case("other_gate/model.safetensors", weights(gated), None, says=["activation", "silu", "--features"],
     config=timm_config("vit_base_patch14_dinov2", "lvd142m", act_layer="gelu"))

# OpenCLIP's own tower, with the epsilon and the activation that its config gives.
from timm.layers import GELUTanh  # noqa: E402

tower = vit(64, pre_norm=True, act_layer=GELUTanh, num_classes=0)
OPEN_CLIP = (("cls_token", "class_embedding"), ("pos_embed", "positional_embedding"), ("patch_embed.proj", "conv1"),
             ("norm_pre", "ln_pre"), ("blocks.", "transformer.resblocks."), ("norm1", "ln_1"), ("norm2", "ln_2"),
             ("attn.qkv.", "attn.in_proj_"), ("attn.proj", "attn.out_proj"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"))
tensors = {("visual." + ("ln_post." + name[5:] if name.startswith("norm.") else name)):
           tensor[0, 0] if name == "class_embedding" else tensor[0] if name == "positional_embedding" else tensor
           for name, tensor in renamed(weights(tower), OPEN_CLIP).items()}
case("open_clip_kwargs/open_clip_model.safetensors", tensors, keep("open_clip_kwargs", record(tower, odd_image)),
     config=None, family="clip")
(OUT / "open_clip_kwargs/open_clip_config.json").write_text(json.dumps(dict(model_cfg=dict(embed_dim=8, vision_cfg=dict(
    image_size=SIDE, layers=DEPTH, width=WIDTH, head_width=WIDTH // HEADS, patch_size=PATCH, norm_kwargs=dict(eps=1e-6),
    act_kwargs=dict(approximate="tanh"))))))

(OUT / "more.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in CASES) + "\n]\n")
