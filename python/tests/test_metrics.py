"""Measures that are fed: oracles in numpy, merging to the bit, storing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from conftest import CLASSES, GRID, WIDTH, drawn

import vitscope as vs


def maps(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    truth = drawn(images, seed)[1]
    rng = np.random.default_rng(seed + 100)
    labels = np.where(truth == 255, 0, truth)
    labels = np.where(rng.random(truth.shape) < 0.2, rng.integers(0, CLASSES, truth.shape), labels)
    return labels.astype(np.uint8), truth


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=np.ndim(a[k]) > 0) for k in a)


def test_segmentation_against_numpy() -> None:
    labels, truth = maps(12, 0)
    s = vs.Segmentation(CLASSES)
    s.update(labels, truth)
    found = s.compute()
    known = truth != 255
    confusion = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(confusion, (labels[known], truth[known]), 1)
    assert np.array_equal(found["confusion"], confusion)
    assert found["class_of"].tolist() == [0, 1, 2]
    hits = np.diag(confusion)
    iou = hits / (confusion.sum(0) + confusion.sum(1) - hits)
    assert np.allclose(found["iou"], iou, atol=1e-15)
    assert found["miou"] == pytest.approx(iou.mean(), abs=1e-15)
    assert found["accuracy"] == pytest.approx(hits.sum() / confusion.sum(), abs=1e-15)
    assert found["miou_low"] < found["miou"] < found["miou_high"]


def test_positional_against_numpy() -> None:
    labels = maps(12, 0)[0]
    p = vs.Positional(CLASSES, GRID)
    p.update(labels)
    found = p.compute()
    counts = np.stack([(labels == k).sum(0) for k in range(CLASSES)]).reshape(CLASSES, -1)
    joint = counts / counts.sum()
    place, label = joint.sum(0, keepdims=True), joint.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        mi = np.nansum(joint * np.log(joint / (place * label)))
    entropy = -np.sum(label * np.log(label))
    assert found["mi"] == pytest.approx(mi, abs=1e-12)
    assert found["nmi"] == pytest.approx(mi / entropy, abs=1e-12)
    assert found["nmi_excess"] == pytest.approx(found["nmi_grid"] - found["nmi_null"], abs=1e-12)
    assert found["position"].shape == (CLASSES, *GRID)


@pytest.mark.parametrize("kind", ["segmentation", "positional"])
def test_parts_merge_into_the_whole(kind: str) -> None:
    labels, truth = maps(11, 3)

    def measure(start: int, end: int):
        if kind == "segmentation":
            m = vs.Segmentation(CLASSES)
            m.update(labels[start:end], truth[start:end])
        else:
            m = vs.Positional(CLASSES, GRID)
            m.update(labels[start:end])
        return m

    whole = measure(0, 11)
    parts = measure(0, 4)
    parts.merge(pickle.loads(pickle.dumps(measure(4, 5))))
    parts.merge(measure(5, 11))
    assert parts.images == 11
    assert equal(parts.compute(), whole.compute())
    assert equal(pickle.loads(pickle.dumps(parts)).compute(), whole.compute())
    parts.reset()
    assert parts.images == 0 and parts.compute()["images"] == 0
    parts.merge(whole)
    assert equal(parts.compute(), whole.compute())


def test_the_same_as_a_probes_score(train, test) -> None:
    probe = vs.Probe(CLASSES, grid=GRID, steps=20, batch=6, pca_batches=2).fit(train[0])
    scores = probe.score(*test)
    labels = probe.predict(test[0], size=(32, 32))
    s, p = vs.Segmentation(CLASSES), vs.Positional(CLASSES, GRID)
    for batch in (slice(0, 3), slice(3, 10)):
        s.update(labels[batch], test[1][batch])
        p.update(labels[batch])
    for name, value in {**p.compute(), **s.compute()}.items():
        assert np.array_equal(value, scores[name], equal_nan=np.ndim(value) > 0), name


def test_other_ignored_classes_and_types() -> None:
    labels, truth = maps(5, 1)
    a, b = vs.Segmentation(CLASSES), vs.Segmentation(CLASSES, ignore=-1)
    a.update(labels, truth)
    b.update(labels.astype(np.int64), np.where(truth == 255, -1, truth.astype(np.int32)))
    assert equal(a.compute(), b.compute())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda l, t: vs.Segmentation(3).update(l, t[:2]), r"expected shape \(4, 32, 32\).*got \(2, 32, 32\)"),
        (lambda l, t: vs.Segmentation(2).update(l, t), "is out of range: there are 2"),
        (lambda l, t: vs.Segmentation(3).merge(vs.Segmentation(4)), "clusters is 3 here and 4 there"),
        (lambda l, t: vs.Segmentation(300), "1..=255"),
        (lambda l, t: vs.Positional(3, (5, 4)).update(l), "5 x 4 square patches, got 32 x 32"),
        (lambda l, t: vs.Positional(2, 4).update(l), "is out of range: there are 2"),
        (lambda l, t: vs.Positional(3, 4, resamples=1), "0 or at least 2"),
        (lambda l, t: vs.Positional(3, 4).update(l.astype("f4")), "whole numbers"),
        (lambda l, t: vs.Positional(3, 4).update("maps"), "array of numpy, torch, jax"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(make, sentence) -> None:
    with pytest.raises(vs.InputError, match=sentence) as error:
        make(*maps(4, 0))
    assert "\n" not in str(error.value)


def test_what_failed_changes_nothing() -> None:
    labels, truth = maps(4, 0)
    p = vs.Positional(CLASSES, GRID)
    p.update(labels)
    before = p.compute()
    with pytest.raises(vs.InputError):
        p.update(np.full_like(labels, 9))
    assert equal(p.compute(), before)


def sums(features: np.ndarray, *batches: int) -> vs.Artifacts:
    a = vs.Artifacts(GRID)
    for start, end in zip((0, *batches), (*batches, len(features)), strict=True):
        a.update(features[start:end])
    return a


def test_artifacts_against_numpy() -> None:
    features = drawn(15, 7)[0] + np.float32(0.7)
    features[:, :, 2] *= 8
    found = sums(features).compute()
    x = features.reshape(-1, WIDTH).astype(np.float64)
    y = x / np.linalg.norm(x, axis=1, keepdims=True)
    mean = x.mean(0)
    energy = np.sort((x**2).mean(0))[::-1]
    p = np.linalg.svd(x - mean, compute_uv=False)
    p /= p.sum()
    # Halves of the images take turns; the noise of their mean maps is independent.
    units = y.reshape(15, 16, WIDTH)
    a, b = (units[half::2].mean(0) - units[half::2].mean((0, 1)) for half in (0, 1))
    whole = units.mean(0) - y.mean(0)
    covariance = np.cov(y.T, bias=True)
    places = np.stack(np.meshgrid(np.arange(4), np.arange(4), indexing="ij"), -1).reshape(16, 2) - 1.5
    cross = whole.T @ places / 16
    ridge = 1e-6 * np.trace(covariance) / WIDTH
    explained = np.trace(cross.T @ np.linalg.solve(covariance + ridge * np.eye(WIDTH), cross))
    for name, value in {
        "images": 15,
        "common_direction": (y @ mean).mean() / np.linalg.norm(mean),
        "channel_top1": energy[0] / energy.sum(),
        "channel_top3": energy[:3].sum() / energy.sum(),
        "channel_top10": energy[:10].sum() / energy.sum(),
        "participation": energy.sum() ** 2 / (energy**2).sum(),
        "effective_rank": np.exp(-(p * np.log(p)).sum()),
        "position_share": (a * b).sum() / 16 / np.trace(covariance),
        "position_r2": explained / (places**2).sum() * 16,
    }.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name
    shares = [found[f"map_{band}"] for band in ("ramp", "low", "mid", "high")]
    assert sum(shares) == pytest.approx(1, abs=1e-12) and min(shares) >= 0


def test_artifacts_are_a_runs_numbers(tmp_path, train, test) -> None:
    # 24 images in batches of 6: every image starts as often as any other.
    settings = {"grid": GRID, "steps": 5, "batch": 6}
    plain = vs.probe_features(train, test, out=tmp_path / "plain", **settings)
    edited = vs.probe_features(train, test, out=tmp_path / "edited", transform="mean", **settings)
    for name, value in sums(train[0]).compute().items():
        if name != "images":
            run = edited if name.startswith(("position", "map")) else plain
            assert run.value(name, "token", 1) == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_artifacts_merge_to_the_bit() -> None:
    features = drawn(11, 3)[0] * np.float32(30) + np.float32(5)
    whole = sums(features)
    # Odd parts, other batches, an empty one, a copy that was stored, and another order of adding up.
    parts = sums(features[:3], 1)
    parts.merge(vs.Artifacts(GRID))
    later = pickle.loads(pickle.dumps(sums(features[3:8], 2, 2)))
    later.merge(sums(features[8:]))
    parts.merge(later)
    assert parts.images == 11
    assert parts.compute() == whole.compute()
    assert np.array_equal(parts.__getstate__()["sums"], whole.__getstate__()["sums"])
    assert pickle.loads(pickle.dumps(parts)).compute() == whole.compute()
    parts.reset()
    assert parts.images == 0 and set(parts.compute().values()) == {0, None}
    parts.merge(whole)
    assert parts.compute() == whole.compute()
    channels = features.reshape(11, 4, 4, WIDTH).transpose(0, 3, 1, 2)
    other = vs.Artifacts()
    other.update(channels)
    assert other.compute() == whole.compute()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda f: vs.Artifacts().update(f), r"do not say their grid"),
        (lambda f: vs.Artifacts((4, 5)).update(f), "4 x 5 = 20 patches"),
        (lambda f: sums(f).update(f[:, :, :5]), "expected 12 channels, as before, got 5"),
        (lambda f: sums(f).merge(_other(f)), r"grid is \(4, 4\) here and \(2, 8\) there"),
        (lambda f: vs.Artifacts(GRID).update(np.full_like(f, np.nan)), "finite"),
        (lambda f: vs.Artifacts(GRID).update(f.astype("i4")), "float32"),
        (lambda f: vs.torchmetric(vs.Probe, 3, grid=4), "Positional, Segmentation or Artifacts"),
    ],
)
def test_artifacts_tell_what_cannot_be(make, sentence) -> None:
    with pytest.raises(vs.InputError, match=sentence) as error:
        make(drawn(3, 0)[0])
    assert "\n" not in str(error.value)


def _other(features: np.ndarray) -> vs.Artifacts:
    a = vs.Artifacts((2, 8))
    a.update(features)
    return a
