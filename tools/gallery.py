#!/usr/bin/env python3
"""Makes the gallery's pictures of the demo again: docs/images/gallery and docs/images/demo-models.png.

    python3 tools/gallery.py VITSCOPE WORK [--chromium PATH]

WORK is a folder that is new or was filled by this before; what is finished there is not made again. Needs Pillow, and
Chromium for the two pictures of pages. Pictures that are not of the demo (docs/gallery.md says which) are left as they
are. Takes ten minutes on two cores.
"""

import argparse
import json
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from browser import Browser, close_page, open_page, take_shot
from browser_view import IDLE, PICTURES, check_saved, open_view

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
MODELS = ("masked", "contrastive", "distilled")
SMALL = ["--size", "128", "--lr", "0.01", "--pca-batches", "16"]

# Where each picture comes from, and the width that it has in the gallery.
FIGURES = {
    "examples": ("demo/contrastive", 1000),
    "aggregate": ("demo/masked", 1000),
    "layers-key": ("demo/masked", 1000),
    "aggregate-layers": ("demo/masked", 1000),
    "soft-layers": ("demo/masked", 1000),
    "miou-by-layer": ("demo/masked", 500),
    "nmi-by-layer": ("demo/masked", 500),
    "excess-by-layer": ("demo/masked", 500),
    "position-locked": ("demo/masked", 1000),
    "class-mi": ("demo/masked", 1000),
    "clusters": ("clusters", 1000),
    "overview": ("compared", 1000),
    "best-miou": ("compared", 500),
    "class-mi-key": ("compared", 1000),
    "relations": ("compared", 1000),
    "matrix": ("matrix", 1000),
    "sensitivity": ("sensitivity", 1000),
    "attention": ("attention", 1000),
    "locality-by-layer": ("attention", 500),
    "pck-by-layer": ("demo/contrastive-correspond", 500),
    "pck-by-category": ("demo/contrastive-correspond", 500),
    "similarity": ("demo/contrastive-correspond", 1000),
    "similarity-by-layer": ("demo/contrastive-correspond", 1000),
    "matches-by-layer": ("demo/contrastive-correspond", 1000),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vitscope", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("chromium-browser"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    program = args.vitscope.resolve()
    make(lambda *words: subprocess.run([program, *words], cwd=args.work, check=True, stdout=subprocess.DEVNULL),
         args.work)
    for name, (folder, width) in FIGURES.items():
        put(args.work / folder / "figures" / f"{name}.png", IMAGES / "gallery" / f"{name}.png", width)
    put(args.work / "compared/figures/miou-by-layer.png", IMAGES / "gallery/miou-by-layer-runs.png", 1000)
    put(args.work / "demo/comparison/figures/overview-token.png", IMAGES / "demo-models.png", 1200)
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(args.chromium, Path(folder) / "profile")
        try:
            shots(browser, program, args.work, Path(folder))
        finally:
            browser.close()


def make(vitscope, work):
    if not (work / "demo/demo.json").exists():
        vitscope("demo", "--out", "demo")
    vitscope("report", "demo/contrastive-correspond")
    runs = [f"demo/{name}{part}" for part in ("", "-attention", "-correspond") for name in MODELS[:2]]
    vitscope("compare", *runs, "--out", "compared")
    probe = ["--data", "demo/scenes", *SMALL, "--resume"]
    model = "demo/models/{}.toml".format
    vitscope("attention", model("masked"), "--data", "demo/scenes", "--size", "128", "--queries", "0010:4,5", "0031:10,8",
             "--out", "attention", "--resume")
    vitscope("probe", model("contrastive"), *probe, "--steps", "200", "--batch", "8", "--facets", "key,token",
             "--extra-clusters", "30", "--limit-test", "16", "--out", "clusters")
    for name in MODELS:
        vitscope("probe", model(name), *probe, "--steps", "100", "--batch", "4,8,16,32", "--seeds", "3", "--out", f"many/{name}")
    many = {name: sorted(f"many/{name}/batch-{batch}_seed-{seed}" for batch in (4, 8, 16, 32) for seed in range(3))
            for name in MODELS}
    vitscope("compare", *sum(many.values(), []), "--out", "matrix")
    one_way = [run for run in many["contrastive"] if "batch-8_" in run or run.endswith("seed-0")]
    vitscope("compare", *one_way, "--out", "sensitivity")


def put(source, target, width):
    """A figure at its width in the gallery, in 256 colors."""
    with Image.open(source) as picture:
        size = (width, round(picture.height * width / picture.width))
        picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(256).save(target, optimize=True)


def shots(browser, program, work, folder):
    target, _ = open_page(browser, work / "demo/contrastive/report.html", 1240, 1860)
    take_shot(browser, folder / "page.png")
    close_page(browser, target)
    with Image.open(folder / "page.png") as picture:
        picture.crop((0, 0, 1240, 1860)).save(folder / "page.png")
    put(folder / "page.png", IMAGES / "gallery/page.png", 620)
    server = subprocess.Popen([program, "view", "demo/masked", "demo/contrastive", "--format", "json"], cwd=work,
                              stdout=subprocess.PIPE)
    try:
        url = json.loads(server.stdout.readline())["url"]
        open_view(browser, f"{url}#facet=token&layer=5&image=0000&at=8,8", 1280)
        browser.settled(PICTURES)
        browser.until(IDLE, "the pictures")
        put(check_saved(browser, folder), IMAGES / "gallery/view.png", 1000)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=10)


if __name__ == "__main__":
    main()
