"""Seconds for the pixel labels of one image and one slot as published code makes them: features are
upsampled to pixels, scaled to unit length and compared with every centroid.

    python tools/bench/labels_torch.py [clusters] [threads]

ViT-B/16 at 320 pixels: 20 x 20 patches of 768 numbers. Needs torch from PyPI. `cargo bench -p
vitscope-probe` prints what vitscope needs (`label`, one core); run them in turns on the same cores.
"""
import sys
import time

import torch
import torch.nn.functional as F

clusters, threads = (int(a) for a in sys.argv[1:] + ["27", "2"][len(sys.argv) - 1:])
torch.set_num_threads(threads)
torch.manual_seed(0)
features = torch.randn(1, 768, 20, 20)
centroids = F.normalize(torch.randn(clusters, 768), dim=1)
times = []
with torch.inference_mode():
    for _ in range(7):
        start = time.perf_counter()
        pixels = F.interpolate(features, size=(320, 320), mode="bilinear", align_corners=False)
        scores = torch.einsum("kd,bdhw->bkhw", centroids, F.normalize(pixels, dim=1))
        labels = scores.argmax(1)
        times.append(time.perf_counter() - start)
times.sort()
print(f"median {times[3] * 1e3:.1f} ms a slot and image, {times[3] * 48:.2f} s for 48 slots")
