"""Measures and monitors inside the trainers of others: torchmetrics over processes, Lightning, transformers."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, GRID, drawn

import vitscope as vs

torch = pytest.importorskip("torch")


def labels(images: int) -> np.ndarray:
    return np.where(drawn(images, 2)[1] == 255, 0, drawn(images, 2)[1]).astype(np.uint8)


def made(kind: str):
    """A metric, the batches of an image list, and what the measure itself says of them."""
    features, masks = drawn(9, 2)
    if kind == "artifacts":
        return vs.torchmetric(vs.Artifacts, GRID), [(features,)], vs.Artifacts(GRID)
    if kind == "segmentation":
        return vs.torchmetric(vs.Segmentation, CLASSES), [(labels(9), masks)], vs.Segmentation(CLASSES)
    return vs.torchmetric(vs.Positional, CLASSES, GRID), [(labels(9),)], vs.Positional(CLASSES, GRID)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=np.ndim(a[k]) > 0) for k in a)


@pytest.mark.parametrize("kind", ["artifacts", "segmentation", "positional"])
def test_a_torchmetric_says_what_the_measure_says(kind: str) -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    metric, [whole], measure = made(kind)
    assert isinstance(metric, torchmetrics.Metric)
    measure.update(*whole)
    for part in (slice(0, 2), slice(2, 9)):
        metric.update(*(torch.from_numpy(array[part]) for array in whole))
    assert same(metric.compute(), measure.compute())
    assert same(metric.clone().compute(), measure.compute())
    # `forward` says what the batch alone is, and keeps it.
    metric.reset()
    metric(*(array[:2] for array in whole))
    batch = metric(*(array[2:] for array in whole))
    alone = type(measure).__new__(type(measure))
    alone.__setstate__(measure.__getstate__())
    alone.reset()
    alone.update(*(array[2:] for array in whole))
    assert same(batch, alone.compute()) and same(metric.compute(), measure.compute())


def _rank(rank: int, kind: str, meet: str, out: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
    metric, [whole], _ = made(kind)
    # Uneven parts, in other batches.
    for part in [[slice(0, 1), slice(1, 4)], [slice(4, 9)]][rank]:
        metric.update(*(torch.from_numpy(array[part]) for array in whole))
    Path(out, f"{rank}").write_bytes(pickle.dumps(metric.compute()))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("kind", ["artifacts", "segmentation", "positional"])
def test_processes_merge_into_one(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    torch.multiprocessing.spawn(_rank, (kind, str(tmp_path / "meet"), str(tmp_path)), nprocs=2)
    _, [whole], measure = made(kind)
    measure.update(*whole)
    for rank in (0, 1):
        assert same(pickle.loads((tmp_path / f"{rank}").read_bytes()), measure.compute())


class Squares(torch.utils.data.Dataset):
    """Images and masks of two classes."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):
        mask = torch.zeros(64, 64, dtype=torch.long)
        mask[index : index + 32, :32] = 1
        generator = torch.Generator().manual_seed(index)
        return mask + 0.2 * torch.rand(3, 64, 64, generator=generator), mask


def vit():
    timm = pytest.importorskip("timm")
    return timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=2)


def monitor(out: Path) -> vs.Monitor:
    return vs.Monitor(Squares(4), every=2, layers=-1, facets="token", out=out, steps=4, batch=4, quiet=True)


def test_lightning_trains_and_is_measured(tmp_path: Path) -> None:
    L = pytest.importorskip("lightning.pytorch")
    pytest.importorskip("tensorboard")

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = vit()

        def training_step(self, batch, _):
            images, masks = batch
            return torch.nn.functional.cross_entropy(self.model(images), masks[:, 8, 8])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    watch = monitor(tmp_path / "m")
    logger = L.loggers.TensorBoardLogger(tmp_path, name="tb")
    trainer = L.Trainer(
        accelerator="cpu", max_steps=4, logger=logger, callbacks=[watch.lightning()],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )
    module = Module()
    trainer.fit(module, torch.utils.data.DataLoader(Squares(8), batch_size=2))
    assert [run.path.name for run in watch.runs] == ["step-00000002", "step-00000004"]
    assert module.model.training
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(logger.log_dir)
    events.Reload()
    found = events.Scalars("vitscope/token/2/miou")
    assert [event.step for event in found] == [2, 4]
    assert found[1].value == pytest.approx(watch.runs[1].value("miou", "token", 2), abs=1e-6)
    assert "vitscope/token/2/labels" in events.Tags()["images"]


def test_transformers_trains_and_is_measured(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=64, num_labels=2
    )
    model = transformers.ViTForImageClassification(config)
    watch = monitor(tmp_path / "m")

    def collate(batch):
        return {"pixel_values": torch.stack([x for x, _ in batch]), "labels": torch.stack([m[8, 8] for _, m in batch])}

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "hf"), max_steps=4, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True, remove_unused_columns=False,
    )
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=Squares(8), data_collator=collate, callbacks=[watch.transformers()]
    )
    trainer.train()
    assert [run.path.name for run in watch.runs] == ["step-00000002", "step-00000004"]
    assert 0 <= watch.runs[1].value("miou", "token", 2) <= 1
