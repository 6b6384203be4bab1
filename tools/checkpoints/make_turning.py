"""Models that turn by their places, or do not, under one set of names, made small: python make_turning.py FOLDER

The same as make_wild.py (which lies beside it), for Perception Encoder without its pooling, which has the tensors of a
CLIP tower, for towers without a norm at their end, and for settings of timm's config.json that no tensor shows. Recordings
come from timm's Eva and VisionTransformer. Writes `turning.json`.

Needs torch 2.15, timm 1.0.31, safetensors. The results are in crates/vitscope-vit/tests/wild.
"""

from pathlib import Path

text = (Path(__file__).parent / "make_wild.py").read_text()
exec(text[: text.index("# ---- wrappings")])
exec(text[text.index("def timm_config(") : text.index("size = dict(hidden_size")])
exec(text[text.index("def eva(seed") : text.index("for name, model, last in (")])
CLIPS = "openclip|openai-clip|metaclip|clip"

core = eva(71, num_classes=0, global_pool="", **PERCEPTION)
case("pe_core_bare.safetensors", weights(core), keep("pe_core_bare", record_joint(core, odd_image, True)),
     notes=["rotary grid"], family="pe", heads=HEADS)
case("pe_core_bare.safetensors", weights(core), None, says=["--family", "pe", "clip"], heads=HEADS)
ended = dict(use_post_transformer_norm=False, use_fc_norm=False)
# Built for images of 32 pixels, and its table made for 16.
spatial = eva(72, **{**PERCEPTION, **ended, "ref_feat_shape": (8, 8)})
case("pe_tuned/model.safetensors", weights(spatial), keep("pe_tuned", record_joint(spatial, odd_image, False)),
     notes=["final norm"], config=timm_config("vit_pe_spatial_base_patch4_32", "fb"))
tower = dict(pre_norm=True, norm_layer=partial(torch.nn.LayerNorm, eps=1e-5))
for name, more in (("clip_cut", dict(final_norm=False)), ("clip_mean", dict(global_pool="avg", fc_norm=True))):
    model = vit(73, **tower, **more)
    case(f"{name}.safetensors", weights(model), keep(name, record(model, odd_image, last=False)), notes=["final norm"],
         family="clip", heads=HEADS)
case("clip_cut.safetensors", weights(vit(73, **tower, final_norm=False)), None, says=[CLIPS, "pe"], heads=HEADS)
case("clip_mean.safetensors", weights(vit(73, **tower, global_pool="avg", fc_norm=True)), None,
     says=["its tensors are those of openclip or openai-clip or metaclip or clip"], family="pe", heads=HEADS)

# ---- what a config says and no tensor shows ------------------------------------------------------------------
turned = dict(weights(core))
for name, architecture, setting, words in (
        ("turns_not", "eva02_small_patch14_224", dict(use_rot_pos_emb=False), ["use_rot_pos_emb = false", "known with true"]),
        ("turns_in_rows", "vit_pe_core_base_patch16_224", dict(rope_grid_indexing="ij"), ["rope_grid_indexing", "xy"]),
        ("turns_by_100", "vit_pe_core_base_patch16_224", dict(rope_temperature=100.0), ["rope_temperature = 100.0", "10000"]),
        ("norms_after", "eva02_enormous_patch14_clip_224", {}, ["eva02_enormous", "its norms follow"]),
        ("norms_after_told", "eva_giant_patch14_clip_224", dict(use_post_norm=True), ["use_post_norm = true"])):
    plain = weights(eva(74, **SWIGLU)) if name == "turns_not" else turned if "pe_" in architecture else weights(vit(75))
    case(f"{name}/model.safetensors", plain, None, says=[*words, "--features"], config=timm_config(architecture, "", **setting))
# What is said is what is done.
case("turns_as_usual/model.safetensors", turned, keep("turns_as_usual", record_joint(core, odd_image, True)),
     config=timm_config("vit_pe_core_base_patch4_16", "fb", use_rot_pos_emb=True, rope_temperature=10000.0, rope_grid_offset=1,
                        use_post_norm=False))

# ---- a row too many ------------------------------------------------------------------------------------------------
pose = {name: tensor for name, tensor in weights(vit(76)).items() if name != "cls_token" and not name.startswith("head.")}
pose["pos_embed"] = torch.zeros(1, 4 * 3 + 1, WIDTH)
pose = {name.replace("norm.", "last_norm.") if name.startswith("norm.") else name: tensor for name, tensor in pose.items()}
case("vitpose.pth", {"state_dict": {**under("backbone.", pose), "keypoint_head.final_layer.bias": torch.zeros(17)}}, None,
     says=["one row more than 12 patches", "ViTPose", "--features"], family="supervised", heads=HEADS)

(OUT / "turning.json").write_text(json.dumps(CASES, indent=1) + "\n")
