"""Models of torch: tapped facets beside recorded activations and the program's own forward pass.

Left out where torch, timm or transformers is missing: `python/check.sh torch` runs it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import FIXTURES, command, same_files, scenes

import vitscope as vs

torch = pytest.importorskip("torch")

TOLERANCE = 1e-5


def stored(path: Path) -> dict[str, np.ndarray]:
    """A safetensors file."""
    with path.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        data = stream.read()
    types = {"F32": np.float32, "F16": np.float16}
    return {
        name: np.frombuffer(data[slice(*info["data_offsets"])], types[info["dtype"]]).reshape(info["shape"])
        for name, info in header.items()
        if name != "__metadata__"
    }


def timm_model(name: str):
    timm = pytest.importorskip("timm")
    folder = FIXTURES / name
    config = json.loads((folder / "config.json").read_text())
    arguments = dict(config.get("model_args", {}))
    meta = json.loads((folder / "meta.json").read_text())
    size = meta.get("img_size") or config["pretrained_cfg"]["input_size"][-1]
    model = timm.create_model(config["architecture"], pretrained=False, num_classes=0, **{"img_size": size, **arguments})
    weights = {n: torch.from_numpy(v.copy()) for n, v in stored(folder / "model.safetensors").items()}
    model.load_state_dict(weights, strict=False)
    return model.eval(), folder


def transformers_model(name: str):
    transformers = pytest.importorskip("transformers")
    folder = FIXTURES / name
    config = transformers.AutoConfig.from_pretrained(folder)
    kinds = {"clip": "CLIPVisionModel", "clip_vision_model": "CLIPVisionModel", "vit_mae": "ViTMAEModel"}
    kind = kinds.get(config.model_type)
    if kind == "ViTMAEModel":
        config.mask_ratio = 0.0
    if kind is None:
        model = transformers.AutoModel.from_config(config)
    else:
        model = getattr(transformers, kind)(getattr(config, "vision_config", config))
    loaded = type(model).from_pretrained(folder, config=model.config)
    return loaded.eval(), folder


def expect(listener, recorded: dict[str, np.ndarray], layers: int, rotated: bool) -> None:
    """Every tapped facet is the recorded one without its prefix."""
    for layer in range(1, layers + 1):
        for facet in ("key", "query", "value", "token"):
            name = f"block{layer - 1}.{facet}"
            if rotated and facet in ("key", "query"):
                name += "_rot"
            if facet == "token" and layer == layers and "final_norm" in recorded:
                name = "final_norm"
            whole = recorded[name]
            found = listener.features[layer, facet].numpy()
            wanted = whole[:, -found.shape[1] :]
            scale = max(1.0, float(np.abs(wanted).max()))
            assert found.shape == wanted.shape, (name, found.shape, wanted.shape)
            assert np.abs(found - wanted).max() / scale < TOLERANCE, name
    assert listener.grid[0] * listener.grid[1] == listener.features[layers, "token"].shape[1]


TIMM = ["dinov2-timm", "dinov2reg-timm", "dinov3-timm", "dinov3-timm-qkvb", "dinov3plus-timm", "mae-timm", "openclip-timm", "dino-timm", "supervised-timm"]


@pytest.mark.parametrize("name", TIMM)
@pytest.mark.parametrize("fused", [True, False])
def test_timm(name: str, fused: bool) -> None:
    model, folder = timm_model(name)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    recorded = stored(folder / "expected.safetensors")
    images = torch.from_numpy(recorded["input"].copy())
    with vs.tap(model) as listener, torch.no_grad():
        model(images)
    expect(listener, recorded, 3, False)
    assert all(not tensor.requires_grad for tensor in listener.features.values())
    if "block0.key_rot" in recorded:
        with vs.tap(model, rope="after") as listener, torch.no_grad():
            model(images)
        expect(listener, recorded, 3, True)
    assert all(getattr(m, "fused_attn", fused) is fused for m in model.modules())


TRANSFORMERS = ["dinov2-transformers", "dinov2reg-transformers", "dinov3-transformers", "dinov3plus-transformers", "mae-transformers", "openclip-transformers", "openai-transformers", "dino-transformers", "supervised-transformers"]


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_transformers(name: str, attention: str) -> None:
    model, folder = transformers_model(name)
    model.set_attn_implementation(attention)
    recorded = stored(folder / "expected.safetensors")
    images = torch.from_numpy(recorded["input"].copy())
    with vs.tap(model) as listener, torch.no_grad():
        model(images)
    expect(listener, recorded, 3, False)
    if "block0.key_rot" in recorded:
        with vs.tap(model, rope="after") as listener, torch.no_grad():
            model(images)
        expect(listener, recorded, 3, True)
    assert model.config._attn_implementation == attention


def test_open_clip() -> None:
    open_clip = pytest.importorskip("open_clip")
    folder = FIXTURES / "openclip-openclip"
    recorded = stored(folder / "expected.safetensors")
    file = next(f for f in folder.iterdir() if f.suffix in (".safetensors", ".pt", ".bin") and "expected" not in f.name)
    if file.suffix == ".safetensors":
        weights = {n: torch.from_numpy(v.copy()) for n, v in stored(file).items()}
    else:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        weights = weights.get("state_dict", weights)
    visual = {n.removeprefix("visual."): v for n, v in weights.items() if n.startswith("visual.")}
    width, _, patch, _ = visual["conv1.weight"].shape
    meta = json.loads((folder / "meta.json").read_text())
    side = recorded["input"].shape[-1]
    heads = meta.get("heads") or meta.get("num_heads") or 2
    model = open_clip.model.CLIP(
        embed_dim=visual["proj"].shape[1],
        vision_cfg={"image_size": side, "layers": 3, "width": width, "patch_size": patch, "head_width": width // heads},
        text_cfg={"context_length": 8, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1},
        quick_gelu=bool(meta.get("quick_gelu", False)),
    )
    model.visual.load_state_dict(visual)
    listener = vs.tap(model)
    listener.run(torch.from_numpy(recorded["input"].copy()))
    expect(listener, recorded, 3, False)


def test_the_program_sees_the_same(tmp_path: Path) -> None:
    """A random model of timm saved, run by `extract`: a chain without recorded numbers."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    for name, size in [("vit_small_patch14_dinov2", 56), ("vit_small_patch16_dinov3", 64), ("vit_base_patch16_clip_224", 64)]:
        arguments = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 0}
        model = timm.create_model(name, img_size=size, **arguments).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        folder = tmp_path / name
        folder.mkdir()
        from safetensors.torch import save_file

        save_file({n: p.contiguous() for n, p in model.state_dict().items()}, folder / "model.safetensors")
        cfg = {k: v for k, v in model.pretrained_cfg.items() if isinstance(v, (str, int, float, tuple, list, bool))}
        about = {"architecture": name, "model_args": arguments, "pretrained_cfg": cfg}
        (folder / "config.json").write_text(json.dumps(about))
        images = torch.randn(2, 3, size, size)
        save_file({"input": images}, tmp_path / "input.safetensors")
        command("extract", folder, "--tensor", tmp_path / "input.safetensors", "--out", tmp_path / f"{name}-out")
        found = stored(tmp_path / f"{name}-out" / "features.safetensors")
        with vs.tap(model) as listener, torch.no_grad():
            model(images)
        assert len(listener.features) == 8
        for (layer, facet), part in listener.features.items():
            wanted = found[f"{facet}.{layer}"].reshape(part.shape)
            scale = max(1.0, float(np.abs(wanted).max()))
            assert np.abs(part.numpy() - wanted).max() / scale < TOLERANCE, (name, facet, layer)


SETTINGS = {"steps": 12, "batch": 4, "pca_batches": 2, "resamples": 10, "examples": 2}


def test_a_run_of_a_module_is_nearly_the_programs(folder: Path, tmp_path: Path) -> None:
    """The program's crops and scaling; features differ in the last bits, so that numbers may, a little."""
    model, fixture = timm_model("dinov2-timm")
    run = vs.probe(model, folder, out=tmp_path / "torch", size=56, layers=[3], facets=["key", "token"], **SETTINGS)
    own = vs.probe(fixture, folder, out=tmp_path / "own", size=56, layers=[3], facets=["key", "token"], **SETTINGS)
    assert run.slots == own.slots
    for facet in ("key", "token"):
        assert np.abs(run.centroids(facet, 3) - own.centroids(facet, 3)).max() < 1e-3
        assert run.value("miou", facet, 3) == pytest.approx(own.value("miou", facet, 3), abs=0.02)
    assert run.record["model"]["depth"] == 3
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


class Squares(torch.utils.data.Dataset):
    def __init__(self, count: int, masks: bool = True) -> None:
        self.count, self.masks = count, masks

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):
        generator = torch.Generator().manual_seed(index)
        mask = torch.zeros(56, 56, dtype=torch.int64)
        y, x = torch.randint(0, 28, (2,), generator=generator).tolist()
        mask[y : y + 28, x : x + 28] = 1
        image = mask[None] * torch.rand(3, 1, 1, generator=generator) + 0.2 * torch.rand(3, 56, 56, generator=generator)
        return (image, mask) if self.masks else image


def test_data_sets_and_loaders(tmp_path: Path) -> None:
    model = timm_model("dinov2-timm")[0]
    a = vs.probe(model, Squares(8), test=Squares(4), out=tmp_path / "a", layers=3, facets="token", classes=["ground", "square"], **SETTINGS)
    loader = torch.utils.data.DataLoader(Squares(8), batch_size=3)
    test = torch.utils.data.DataLoader(Squares(4), batch_size=2)
    b = vs.probe(model, loader, test=test, out=tmp_path / "b", layers=3, facets="token", classes=2, **SETTINGS)
    assert a.classes == ["ground", "square"] and b.classes == ["0", "1"]
    assert np.abs(a.centroids("token", 3) - b.centroids("token", 3)).max() < 1e-3
    alone = vs.probe(model, Squares(6, masks=False), out=tmp_path / "c", layers="last", facets=["key"], clusters=3, **SETTINGS)
    assert alone.classes == [] and alone.value("nmi", "key", 3) is not None


def test_any_module_by_name() -> None:
    model = timm_model("dinov2reg-timm")[0]
    images = torch.randn(2, 3, *model.patch_embed.img_size)
    with vs.tap(model, hooks={"blocks.1": vs.tokens(), "blocks.0.mlp": vs.tokens(prefix=5)}) as listener, torch.no_grad():
        model(images)
    with vs.tap(model, layers=2, facets="token") as other, torch.no_grad():
        model(images)
    assert torch.equal(listener.features["blocks.1"], other.features[2, "token"])
    assert listener.features["blocks.0.mlp"].shape == other.features[2, "token"].shape
    conv = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU())
    with vs.tap(conv, hooks={"1": vs.tokens()}) as listener:
        conv(torch.randn(2, 3, 16, 16))
    assert listener.features["1"].shape == (2, 64, 8) and listener.grid == (8, 8)


def test_tensors_of_torch_are_taken() -> None:
    features = torch.randn(12, 16, 8)
    masks = torch.randint(0, 3, (12, 32, 32))

    def fit(x):
        return vs.Probe(3, grid=4, steps=5, batch=4, pca_batches=2).fit(x).centroids

    assert np.array_equal(fit(features), fit(features.numpy()))
    assert np.array_equal(fit(features.bfloat16()), fit(features.bfloat16().float()))
    assert np.array_equal(fit(features.half()), fit(features.half().float()))
    assert np.array_equal(fit(features.requires_grad_()), fit(features.detach()))
    assert np.array_equal(fit(features.transpose(1, 2).reshape(12, 8, 4, 4)), fit(features))
    s = vs.Segmentation(3)
    s.update(masks, masks)
    assert s.compute()["miou"] == 1


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    model = timm_model("dinov2-timm")[0]
    for make, sentence in [
        (lambda: vs.tap(model, layers=4), "asks for layer 4, but the model has 3"),
        (lambda: vs.tap(model, facets="keys"), "any of key, query, value, token"),
        (lambda: vs.tap(torch.nn.Linear(2, 2)), "no blocks with attention"),
        (lambda: vs.tap("model"), "nn.Module"),
        (lambda: vs.tap(model, hooks={"block": vs.tokens()}), "no module"),
        (lambda: vs.probe(model, 3, out=tmp_path / "r"), "Dataset"),
        (lambda: vs.probe(model, Squares(4), out=tmp_path / "r", mean=(0, 0, 0)), "for a data set by name"),
    ]:
        with pytest.raises(vs.InputError, match=sentence):
            make()


def test_a_monitor_in_a_loop(tmp_path: Path) -> None:
    model = timm_model("dinov2-timm")[0]
    data = torch.utils.data.DataLoader(Squares(6), batch_size=3)
    logged: dict[int, dict[str, float]] = {}
    monitor = vs.Monitor(data, every=2, layers=[-1], facets=["token"], out=tmp_path / "m", steps=8, batch=4, log=lambda s, n: logged.update({n: s}), quiet=True)
    for n in range(1, 5):
        with torch.no_grad():
            model.norm.weight.mul_(1.01)
        scalars = monitor.step(model, n)
        assert (scalars is None) == (n % 2 == 1)
    assert sorted(logged) == [2, 4] and "vitscope/token/3/miou" in logged[4] and 0 < logged[4]["vitscope/overhead"] <= 1
    assert [run.path.name for run in monitor.runs] == ["step-00000002", "step-00000004"]
    lines = (tmp_path / "m" / "series.csv").read_text().splitlines()
    assert lines[0] == "step,facet,layer,metric,value,low,high" and {line.split(",")[0] for line in lines[1:]} == {"2", "4"}
    assert monitor.compare().page.exists()


def test_colors_stay_with_their_clusters(tmp_path: Path) -> None:
    """The same model measured twice, from other seeds: clusters get other numbers, and keep their colors."""
    model = timm_model("dinov2-timm")[0]
    pictures: list[np.ndarray] = []

    class Writer:
        def add_scalar(self, *_): ...

        def add_image(self, name, picture, n, dataformats):
            assert dataformats == "HWC" and picture.dtype == np.uint8
            pictures.append(picture)

    monitor = vs.Monitor(Squares(6, masks=False), every=1, layers=3, facets="token", out=tmp_path / "m", clusters=4, steps=30, batch=4, log=Writer(), quiet=True)
    monitor.step(model, 1)
    monitor._settings["seed"] = 5
    monitor.step(model, 2)
    a, b = pictures
    assert a.shape == b.shape == (56, 4 * 56, 3)
    assert (a == b).all(-1).mean() > 0.5


def test_callbacks(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = timm_model("dinov2-timm")[0]
    monitor = vs.Monitor(Squares(4), every=2, layers=3, facets="token", out=tmp_path / "m", steps=4, batch=4, quiet=True)
    callback = monitor.transformers()
    assert isinstance(callback, transformers.TrainerCallback)
    state = transformers.TrainerState(global_step=2)
    callback.on_step_end(None, state, None, model=model)
    assert len(monitor.runs) == 1
    with pytest.raises(vs.InputError, match="lightning is not imported"):
        monitor.lightning()
