"""Measures that are fed: oracles in numpy, merging to the bit, storing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from conftest import CLASSES, GRID, drawn

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
