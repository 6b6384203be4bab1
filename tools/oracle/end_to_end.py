"""The whole probe computed again by other means, and compared with what the program wrote.

    python tools/oracle/end_to_end.py FOLDER path/to/vitscope

Makes features (two slots) and masks in FOLDER, runs `vitscope probe --features` on them, and repeats
PCA start, 60 steps of autograd with Adam, upsampling, matching and measures with NumPy, PyTorch,
SciPy and scikit-learn. Exits with an error when anything differs by more than it says.
Recorded with numpy 2.4.6, torch 2.15.0, scipy 1.17.1, scikit-learn 1.9.1, pillow 13.0.0.
"""
import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import load_file, save_file
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import mutual_info_score

ROOT, BINARY = sys.argv[1:3]
N_TRAIN, N_TEST, GRID, PATCH, WIDTH, K, CLASSES, BATCH, STEPS, PCA = 48, 10, 6, 16, 40, 7, 7, 12, 60, 8
SIDE = GRID * PATCH
rng = np.random.default_rng(0)
prototypes = rng.normal(size=(K, WIDTH))


def check(what, difference, bound):
    print(f"{what:28} {difference:.2e}  (bound {bound:.0e})")
    if not difference <= bound:
        sys.exit(f"{what} differs")


def make(count, split):
    features = np.zeros((count, GRID, GRID, WIDTH), np.float32)
    masks = []
    for i in range(count):
        classes = rng.integers(0, CLASSES, (3, 3)).repeat(2, 0).repeat(2, 1)
        features[i] = prototypes[classes] + 0.8 * rng.normal(size=(GRID, GRID, WIDTH)) + 0.5
        mask = classes.repeat(PATCH, 0).repeat(PATCH, 1).astype(np.uint8)
        mask[rng.random((SIDE, SIDE)) < 0.02] = 255
        Image.fromarray(mask).save(f"{ROOT}/data/masks/{split}/{i:03}.png")
        noise = rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f"{ROOT}/data/images/{split}/{i:03}.png")
        masks.append(mask)
    return features, np.stack(masks)


shutil.rmtree(ROOT, ignore_errors=True)
os.makedirs(f"{ROOT}/features")
for kind in ("images", "masks"):
    for split in ("train", "test"):
        os.makedirs(f"{ROOT}/data/{kind}/{split}")
train, _ = make(N_TRAIN, "train")
test, truth = make(N_TEST, "test")
with open(f"{ROOT}/data/classes.txt", "w") as file:
    file.write("".join(f"class{i}\n" for i in range(CLASSES)))
for split, features in (("train", train), ("test", test)):
    slots = {"key.3": features, "value.3": features[..., ::-1].copy()}
    save_file(slots, f"{ROOT}/features/{split}.safetensors")
with open(f"{ROOT}/features/features.json", "w") as file:
    json.dump({"patch": PATCH, "size": SIDE, "model": "oracle"}, file)
run = f"{ROOT}/run"
subprocess.run(
    [BINARY, "probe", "--features", f"{ROOT}/features", "--data", f"folder:{ROOT}/data", "--out", run,
     "--steps", str(STEPS), "--batch", str(BATCH), "--pca-batches", str(PCA), "--no-shuffle",
     "--save-counts", "pixel", "--save-labels", "all", "--quiet"], check=True)
books, counts = load_file(f"{run}/codebooks.safetensors"), load_file(f"{run}/counts.safetensors")
with open(f"{run}/metrics.csv") as file:
    rows = list(csv.DictReader(file))


def metric(facet, name):
    (row,) = [r for r in rows if (r["facet"], r["metric"], r["class"]) == (facet, name, "")]
    return float(row["value"])


patches = train.reshape(N_TRAIN, GRID * GRID, WIDTH)
steps = N_TRAIN // BATCH
batch = lambda step: patches[step % steps * BATCH:][:BATCH].reshape(-1, WIDTH)
_, vectors = np.linalg.eigh(np.cov(np.concatenate([batch(b) for b in range(PCA)]).astype(np.float64).T))
start = vectors[:, ::-1][:, :K].T.copy()
start *= np.sign(start[np.arange(K), np.abs(start).argmax(1)])[:, None]
values = torch.tensor(start, dtype=torch.float32, requires_grad=True)
adam = torch.optim.Adam([values], lr=5e-3)
for step in range(STEPS):
    x = F.normalize(torch.tensor(batch(step)), dim=1)
    loss = -(x @ F.normalize(values, dim=1).T).max(1).values.mean()
    adam.zero_grad()
    loss.backward()
    adam.step()
mine = books["key.3"]
check("centroids", np.abs(mine - F.normalize(values, dim=1).detach().numpy()).max(), 1e-4)

dense = F.interpolate(torch.tensor(test).permute(0, 3, 1, 2), (SIDE, SIDE), mode="bilinear", align_corners=False)
scores = torch.einsum("bdhw,kd->bkhw", F.normalize(dense, dim=1), torch.tensor(mine))
labels = scores.argmax(1).numpy()
best, second = scores.topk(2, 1).values.unbind(1)
seen = truth != 255
confusion = np.zeros((K, CLASSES), np.int64)
np.add.at(confusion, (labels[seen], truth[seen]), 1)
check("confusion", np.abs(confusion - counts["confusion.key.3"]).sum(), 0)
row, column = linear_sum_assignment(-confusion)
match = np.full(K, -1)
match[row] = column
check("matching", (match != books["match.key.3"]).sum(), 0)
predicted = match[labels]
stored = np.stack([np.array(Image.open(f"{run}/labels/key.3/{i:03}.png")) for i in range(N_TEST)])
differ = stored != predicted
check("labels, where not a tie", (differ & ((best - second).numpy() > 1e-5)).sum(), 0)
hits = [((predicted == c) & (truth == c)).sum() for c in range(CLASSES)]
sizes = [((predicted == c) & seen).sum() + (truth == c).sum() - h for c, h in enumerate(hits)]
check("mIoU", abs(np.mean(np.array(hits) / sizes) - metric("key", "miou")), 1e-6)
check("accuracy", abs((predicted == truth)[seen].mean() - metric("key", "accuracy")), 1e-6)
places = np.broadcast_to(np.arange(SIDE * SIDE), (N_TEST, SIDE * SIDE)).ravel()
share = np.bincount(labels.ravel()) / labels.size
entropy = -(share * np.log(share)).sum()
information = mutual_info_score(places, labels.ravel())
check("MI", abs(information - metric("key", "mi")), 1e-6)
check("entropy", abs(entropy - metric("key", "entropy")), 1e-6)
check("NMI", abs(information / entropy - metric("key", "nmi")), 1e-6)
information = mutual_info_score(places[seen.ravel()], truth.ravel()[seen.ravel()])
check("ground truth MI", abs(information - metric("ground_truth", "mi")), 1e-6)
print("everything agrees")
