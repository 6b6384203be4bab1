"""Position taken out of arrays: numpy as the oracle, and the program's own transforms."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, GRID, drawn

import vitscope as vs


def placed(images: int, seed: int) -> np.ndarray:
    """Drawn features with a ramp of place on one channel."""
    features = drawn(images, seed)[0]
    features[:, :, 11] += np.repeat(np.arange(4, dtype=np.float32), 4)
    return features


def unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def test_mean_and_svd_against_numpy() -> None:
    train, test = placed(40, 0), placed(6, 1)
    means = unit(train).astype(np.float64).mean(0)
    change = means - means.mean(0)
    mean = vs.Debias("mean", grid=GRID).fit(train)
    assert np.allclose(mean.transform(test), unit(test) - change, atol=1e-6)
    basis = np.linalg.svd(change.T)[0][:, :2]
    expected = unit(test) - unit(test) @ basis @ basis.T
    assert np.allclose(vs.Debias("svd:2", grid=GRID).fit([train[:7], train[7:]]).transform(test), expected, atol=1e-5)
    assert mean.numbers["position_r2_left"] < 1e-6 < mean.numbers["position_r2"]
    assert np.allclose(mean.removed.ravel(), np.linalg.norm(change, axis=1), atol=1e-5)
    again = pickle.loads(pickle.dumps(mean))
    assert np.array_equal(again.transform(test), mean.transform(test)) and again.numbers == mean.numbers


def test_the_programs_transform_is_the_same(tmp_path: Path) -> None:
    train, test = placed(24, 0), placed(6, 1)
    masks = drawn(24, 0)[1], drawn(6, 1)[1]
    settings = {"steps": 10, "batch": 6, "pca_batches": 4, "resamples": 0}
    run = vs.probe_features(
        (train, masks[0]), (test, masks[1]), grid=GRID, out=tmp_path / "run", transform="mean", **settings
    )
    stored = vs.Debias.from_run(run, "token", 1)
    fitted = vs.Debias("mean", grid=GRID).fit(train)
    assert np.array_equal(stored.transform(test), fitted.transform(test))
    assert stored.numbers == fitted.numbers and repr(stored) == repr(fitted)
    probe = vs.Probe(CLASSES, grid=GRID, **settings).fit(fitted.transform(train))
    assert np.array_equal(probe.centroids, run.centroids("token", 1))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: vs.Debias("median"), "median"),
        (lambda: vs.Debias("svd:99", grid=GRID).fit(placed(6, 0)), "99"),
        (lambda: vs.Debias("mean", grid=GRID).transform(placed(6, 0)), "nothing is fitted"),
        (lambda: vs.Debias("mean", grid=GRID).fit([]), "no features to fit to"),
        (lambda: vs.Debias("blank:2", grid=GRID).fit(placed(6, 0)), "black image"),
        (lambda: vs.Debias("mean", grid=GRID).fit(placed(6, 0)).transform(placed(6, 0)[:, :, :5]), "12.*5"),
        (lambda: vs.probe("m", "d", transform=lambda image: image), "preprocess"),
    ],
)
def test_what_cannot_be_is_told(make, sentence) -> None:
    with pytest.raises(vs.InputError, match=sentence):
        make()
