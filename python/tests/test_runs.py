"""Runs through Python: the bytes of the command, and what a run directory gives back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, FIXTURES, GRID, command, same_files

import vitscope as vs

MODEL = FIXTURES / "dinov2-timm"
FLAGS = ["--size", "56", "--steps", "12", "--batch", "4", "--pca-batches", "2", "--resamples", "10", "--examples", "2"]
SETTINGS = {"size": 56, "steps": 12, "batch": 4, "pca_batches": 2, "resamples": 10, "examples": 2}


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> vs.Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    return vs.probe(MODEL, folder, out=out, layers=[2, 3], **SETTINGS)


def test_probe_is_the_command_to_the_byte(run: vs.Run, folder: Path, tmp_path: Path) -> None:
    command("probe", MODEL, "--data", folder, "--out", tmp_path / "run", "--layers", "2,3", *FLAGS)
    same_files(run.path, tmp_path / "run", "metrics.csv", "codebooks.safetensors", "counts.safetensors")
    pages = [(p / "report.html").stat().st_size for p in (run.path, tmp_path / "run")]
    assert pages[0] == pages[1]


def test_features_are_the_command_to_the_byte(train, test, tmp_path: Path) -> None:
    """Arrays, and the same as a feature directory beside a folder of masks."""
    settings = {"steps": 20, "batch": 6, "pca_batches": 2, "resamples": 10}
    a = vs.probe_features(
        [(train[0][:10], train[1][:10]), (train[0][10:], train[1][10:])],
        test,
        grid=GRID,
        out=tmp_path / "a",
        **settings,
    )
    assert a.record["clusters"] == CLASSES and a.path == tmp_path / "a"
    assert [p.name for p in tmp_path.iterdir()] == ["a"], "nothing is left beside the run"
    # The same by hand, as docs/features.md says.
    from vitscope import _vitscope

    features, data = tmp_path / "features", tmp_path / "data"
    features.mkdir()
    for split, (rows, masks) in (("train", train), ("test", test)):
        writer = _vitscope.FeatureWriter(features, split, [("token.1", 12)], [4, 4], len(rows))
        writer.add([rows])
        for kind in ("images", "masks"):
            (data / kind / split).mkdir(parents=True)
        for index, mask in enumerate(masks):
            _vitscope.png_of(np.full((32, 32, 3), 128, np.uint8), data / "images" / split / f"{index:06}.png")
            _vitscope.png_of(mask, data / "masks" / split / f"{index:06}.png")
    (data / "classes.txt").write_text("0\n1\n2\n")
    (features / "features.json").write_text('{"model": "features", "patch": 8, "size": 32, "depth": 1}')
    flags = ["--steps", "20", "--batch", "6", "--pca-batches", "2", "--resamples", "10"]
    command("probe", "--features", features, "--data", data, "--out", tmp_path / "b", *flags)
    same_files(a.path, tmp_path / "b", "metrics.csv", "codebooks.safetensors", "counts.safetensors")
    # And a probe of arrays alone gives the same centroids and numbers.
    p = vs.Probe(CLASSES, grid=GRID, **settings).fit(train[0])
    assert np.array_equal(p.centroids, a.centroids("token", 1))
    scores = p.score(*test)
    for name in ("miou", "accuracy", "nmi", "nmi_excess"):
        assert scores[name] == a.value(name, "token", 1), name
    low = a.metrics("miou", "token", 1).columns()["low"][0]
    assert scores["miou_low"] == low


def test_a_run_gives_back_what_it_holds(run: vs.Run) -> None:
    again = vs.read_run(run.path)
    assert again.slots[:2] == [("key", 2), ("query", 2)] or len(again.slots) == 8
    assert again.classes == ["ground", "square"] and set(again.selection) >= {"key", "token"}
    counts = again.counts("key", 3)
    assert counts.confusion.shape == (2, 2) and counts.confusion.dtype == np.int64
    assert counts.position.shape == (2, 4, 4) and counts.position.dtype == np.uint32
    assert again.counts("ground_truth").confusion is None
    assert again.centroids("key", 3).shape == (2, 16)
    assert again.class_of("key", 3).tolist() in ([0, 1], [1, 0])
    assert len(again.examples) == 2
    truth = again.labels(again.examples[0])
    assert truth.shape == (56, 56) and set(np.unique(truth)) <= {0, 1, 255}
    shown = again.labels(again.examples[0], "key", again.selection["key"])
    assert shown.shape == (56, 56)
    assert -1 <= again.value("loss", "token", 3) <= 0
    assert again.verdict()
    findings = again.artifacts()
    assert {found.health for found in findings} <= {"ok", "look", "broken"}
    told = json.loads(command("artifacts", run.path, "--format", "json").stdout)["findings"]
    assert [found._asdict() for found in findings] == told


def test_numbers_as_a_table(run: vs.Run) -> None:
    table = run.metrics("miou", whole=True)
    assert len(table) == 8
    rows = table.rows()
    assert set(rows[0]) == {"model", "family", "size", "layer", "facet", "metric", "class", "value", "low", "high"}
    assert rows[0]["class"] is None and rows[0]["layer"] in (2, 3) and 0 <= rows[0]["value"] <= 1
    whole = run.metrics()
    assert len(whole) == len((run.path / "metrics.csv").read_text().splitlines()) - 1
    assert type(whole.__arrow_c_stream__()).__name__ == "PyCapsule"


def test_other_packages_read_the_table(run: vs.Run) -> None:
    table = run.metrics()
    expected = table.columns()
    pa = pytest.importorskip("pyarrow")
    arrow = pa.table(table)
    assert arrow.column_names == list(expected) and arrow.to_pydict() == expected
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(table)
    assert frame.shape == (len(table), 10) and frame["value"].to_list() == expected["value"]
    pd = pytest.importorskip("pandas")
    if hasattr(pd.DataFrame, "from_arrow"):
        assert pd.DataFrame.from_arrow(table)["metric"].tolist() == expected["metric"]


def test_notebooks_show_a_run(run: vs.Run) -> None:
    html = run._repr_html_()
    assert "<table>" in html and html.count("data:image/png") == 2 and "dinov2" in html.lower()
    assert run._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
    assert {"examples", "aggregate", "miou-by-layer"} <= set(run.figures)
    figure = run.figure("miou-by-layer")
    assert figure.startswith("<svg") or "<svg" in figure[:200]
    assert figure._repr_svg_() == figure


def test_pages_are_written(run: vs.Run, folder: Path, tmp_path: Path) -> None:
    page = vs.report(run, label="tiny", letters=True)
    assert page == run.page and b"tiny" in page.read_bytes()
    other = vs.probe(MODEL, folder, out=tmp_path / "b", layers=[2, 3], seed=1, **SETTINGS)
    comparison = vs.compare([run, other.path], tmp_path / "both", labels=["one", "two"])
    assert comparison.page.exists() and "miou-by-layer" in comparison.figures
    assert comparison.figure("miou-by-layer").count("<svg") == 1
    vs.report(run)


def test_several_values_make_several_runs(folder: Path, tmp_path: Path) -> None:
    runs = vs.probes(MODEL, folder, out=tmp_path / "seeds", seeds=2, layers="last", facets="token", **SETTINGS)
    assert [run.path.name for run in runs] == ["seed-0", "seed-1"]
    unshuffled = vs.probe(
        MODEL, folder, out=tmp_path / "c", shuffle=False, layers=3, facets=["token"], **SETTINGS
    )
    assert unshuffled.record["settings"]["shuffle"] is False


def test_an_interrupted_run_goes_on(folder: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "steps": 3000, "save_every": 0}
    out = tmp_path / "run"
    told = 0

    def stop(done: int, total: int, text: str) -> None:
        nonlocal told
        told += text.startswith("train")
        if text.startswith("train") and done > 0:
            raise KeyboardInterrupt

    with pytest.raises(vs.Interrupted, match="continue with `resume`") as error:
        vs.probe(MODEL, folder, out=out, layers=[3], progress=stop, **settings)
    assert isinstance(error.value.__cause__, KeyboardInterrupt)
    assert vs.read_run(out).record["state"] == "interrupted" and told > 0
    resumed = vs.probe(MODEL, folder, out=out, layers=[3], resume=True, **settings)
    unbroken = vs.probe(MODEL, folder, out=tmp_path / "whole", layers=[3], **settings)
    same_files(resumed.path, unbroken.path, "metrics.csv", "codebooks.safetensors", "counts.safetensors")


@pytest.mark.parametrize(
    ("make", "kind", "sentence"),
    [
        (lambda d, o: vs.probe(MODEL, d, out=o, size=0), vs.InputError, "`size` 0: expected a whole number"),
        (lambda d, o: vs.probe(MODEL, d, out=o, stepps=1), vs.InputError, "`stepps` is no setting"),
        (lambda d, o: vs.probe(MODEL, d, out=o, threads=1), vs.InputError, "set_threads"),
        (lambda d, o: vs.probe(MODEL, d, out=o, layers=[9]), vs.InputError, "layer 9"),
        (lambda d, o: vs.probe(MODEL, d, out=o, device="tpu"), vs.InputError, "device tpu"),
        (lambda d, o: vs.probe(MODEL, o / "none", out=o), vs.DataError, "none"),
        (lambda d, o: vs.probe("no-such-model", d, out=o), vs.InputError, "no-such-model"),
        (lambda d, o: vs.probe(d, d, out=o), vs.DataError, "no checkpoint was opened"),
        (lambda d, o: vs.probe(3, d, out=o), vs.InputError, "nn.Module"),
        (lambda d, o: vs.probe(MODEL, 3, out=o), vs.InputError, "kind:root"),
        (lambda d, o: vs.probe(None, d, out=o), vs.InputError, "give a model"),
        (lambda d, o: vs.read_run(d), vs.DataError, "is not a run directory"),
        (lambda d, o: vs.compare("runs", o), vs.InputError, "list of runs"),
        (lambda d, o: vs.compare([d], o), vs.DataError, "is not a run directory"),
        (lambda d, o: vs.report(d), vs.DataError, "is not a run directory"),
    ],
)
def test_errors_are_the_programs_sentences(folder, tmp_path, make, kind, sentence) -> None:
    with pytest.raises(kind, match=sentence) as error:
        make(folder, tmp_path / "run")
    assert "\n" not in str(error.value) and "--" not in str(error.value).replace("--features", "")


def test_features_that_cannot_be_probed_are_told(train, tmp_path: Path) -> None:
    features = train[0]
    for make, sentence in [
        (lambda: features[:, :12], "square grid of patches, got 3 x 4"),
        (lambda: np.where(features > 3, np.inf, features), r"token.1 of shape \(24, 16, 12\): image \d+ holds"),
        (lambda: {(1, "keys"): features}, "`keys.1` is no slot"),
        (lambda: [features, features[:, :, :5]], "differ in slots or widths"),
        (lambda: [(features, train[1]), (features, train[1][:, :28, :28])], "28 x 28 and 32 x 32 pixels"),
    ]:
        given = make()
        grid = (3, 4) if getattr(given, "shape", (0, 16))[1] == 12 else 4
        with pytest.raises(vs.InputError, match=sentence):
            vs.probe_features(given, grid=grid, out=tmp_path / "run", steps=3, batch=4)
    with pytest.raises(vs.InputError, match="two classes are named '1'"):
        vs.probe_features(train, grid=4, out=tmp_path / "run", steps=3, batch=4, classes=[*"0121"] + [*"abcdefgh"])
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_lacks_is_told(run: vs.Run) -> None:
    for make, sentence in [
        (lambda: run.centroids("key", 1), "holds nothing of key.1; the run has key.2"),
        (lambda: run.centroids("keys", 2), "one of key, query, value, token"),
        (lambda: run.labels("none"), "kept no label map"),
        (lambda: run.figure("none"), "it has"),
        (lambda: run.value("miou", "key", 9), "0 rows of miou of key.9"),
        (lambda: vs.report(run, images="none"), "none"),
    ]:
        with pytest.raises(vs.InputError, match=sentence):
            make()
