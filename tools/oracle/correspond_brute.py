"""`vitscope correspond` against brute force on a model's own features, with the time of both.

    python tools/oracle/correspond_brute.py VITSCOPE PHOTOGRAPHS WORK MODEL [loader flags]
        (numpy, pillow, safetensors, torch; environment: SIZE=320, IMAGES=6, PAIRS=4, POINTS=9)

Photographs become an SPair-shaped category in which every one is paired with every other. For PAIRS of
the pairs and every slot, the embeddings of both photographs (from `vitscope extract`) are upsampled to the
photographs' sizes by F.interpolate, and the match is the argmax of the cosine over all pixels.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import load_file, save_file

program, photographs, work, model, *flags = sys.argv[1:]
size, count, compared, points = (int(os.environ.get(name, default)) for name, default in
                                 [("SIZE", 320), ("IMAGES", 6), ("PAIRS", 4), ("POINTS", 9)])
work = Path(work)
category = "bird"
folder = work / "set/JPEGImages" / category
pairs = work / "set/PairAnnotation/test"
layout = work / "set/Layout/large"
for path in [folder, pairs, layout]:
    path.mkdir(parents=True, exist_ok=True)

rng = np.random.default_rng(0)
images, keypoints = [], []
for number, path in enumerate(sorted(Path(photographs).rglob("*.jpg"))[:count]):
    image = Image.open(path).convert("RGB").resize((500 - 10 * number, 375 + 4 * number))
    image.save(folder / f"{number}.png")
    (folder / f"{number}.png").rename(folder / f"{number}.jpg")
    images.append(image)
    keypoints.append([[int(rng.integers(w)) for w in image.size] for _ in range(points)])
listed = []
for s in range(count):
    for t in range(count):
        if s == t:
            continue
        stem = f"{len(listed):06}-{s}-{t}:{category}"
        box = [0, 0, 200, 150]
        pair = {"category": category, "kps_ids": [str(k) for k in range(points)]}
        for side, k in [("src", s), ("trg", t)]:
            pair |= {f"{side}_imname": f"{k}.jpg", f"{side}_imsize": [*images[k].size, 3],
                     f"{side}_bndbox": box, f"{side}_kps": keypoints[k]}
        (pairs / f"{stem}.json").write_text(json.dumps(pair))
        listed.append((stem, s, t))
(layout / "test.txt").write_text("".join(f"{stem}\n" for stem, _, _ in listed))

subprocess.run([program, "correspond", model, *flags, "--data", str(work / "set"), "--size", str(size),
                "--out", str(work / "run")], check=True)
record = json.loads((work / "run/run.json").read_text())
identity = record["model"]["identity"]
mean, std = (np.array(identity[name], np.float32) for name in ["mean", "std"])
inputs = [np.asarray(i.resize((size, size), Image.BILINEAR), np.float32) / np.float32(255) for i in images]
stacked = np.stack([((i - mean) / std).transpose(2, 0, 1) for i in inputs])
save_file({"input": np.ascontiguousarray(stacked)}, work / "input.safetensors")
subprocess.run([program, "extract", model, *flags, "--tensor", str(work / "input.safetensors"),
                "--out", str(work / "features")], check=True)
features = load_file(work / "features/features.safetensors")
found = load_file(work / "run/pairs.safetensors")
slots = [name.removeprefix("match.") for name in found if name.startswith("match.")]


def matches(s, t, slot, dtype):
    def upsampled(k):
        grid = torch.from_numpy(features[slot][k]).to(dtype).permute(2, 0, 1)[None]
        return F.interpolate(grid, size=images[k].size[::-1], mode="bilinear", align_corners=False)[0]
    at = torch.tensor(keypoints[s])
    wanted = F.normalize(upsampled(s)[:, at[:, 1], at[:, 0]], dim=0)
    target = F.normalize(upsampled(t).flatten(1), dim=0)
    return wanted.T @ target


chosen = rng.choice(len(listed), compared, replace=False)
for dtype in [torch.float32, torch.float64]:
    same, near, worst, seconds = 0, 0, 0.0, 0.0
    for index in chosen:
        _, s, t = listed[index]
        for slot in slots:
            begun = time.perf_counter()
            cosines = matches(s, t, slot, dtype)
            best = cosines.argmax(1)
            seconds += time.perf_counter() - begun
            ours = found[f"match.{slot}"][index * points:(index + 1) * points].astype(int)
            flat = torch.from_numpy(ours[:, 1] * images[t].size[0] + ours[:, 0])
            for k in range(points):
                if flat[k] == best[k]:
                    same += 1
                else:
                    near += 1
                    worst = max(worst, float(cosines[k, best[k]] - cosines[k, flat[k]]))
    print(f"torch {torch.__version__} {dtype}: {same} identical, {near} other, of which the worst is "
          f"{worst:.1e} below the best; {seconds / compared * 1e3:.0f} ms per pair of {len(slots)} slots")
times = record["times"]
print(f"vitscope: {times['correspond_match_secs'] / len(listed) * 1e3:.1f} ms per pair to match, "
      f"{times['correspond_forward_secs'] / times['correspond_images'] * 1e3:.0f} ms per image forward")
