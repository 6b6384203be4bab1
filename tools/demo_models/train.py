"""Trains one of the demo's models and writes it as f16 safetensors in timm's names.

    python train.py masked SCENES.npy masked.safetensors --steps 3000
    python train.py contrastive SCENES.npy contrastive.safetensors --steps 2400

SCENES.npy is what `cargo run --release -p vitscope-demo --example scenes -- SCENES.npy 6000` writes.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from contrastive import Contrastive
from masked import Masked

RATE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("objective", choices=["masked", "contrastive"])
    parser.add_argument("scenes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-secs", type=float, default=120, help="a usable file is written this often")
    parser.add_argument("--resume", action="store_true", help="go on from the last such file")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    random = torch.Generator().manual_seed(args.seed)
    scenes = torch.from_numpy(np.load(args.scenes))
    model = Masked() if args.objective == "masked" else Contrastive()
    plain = [p for p in model.parameters() if p.ndim < 2]
    heavy = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": heavy, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    begun = saved = time.monotonic()
    first, mean = 0, None
    state = args.out.with_suffix(".state")
    if args.resume:
        kept = torch.load(state)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        random.set_state(kept["random"])
        first, mean, begun = kept["step"], kept["loss"], begun - kept["secs"]
    for step in range(first, args.steps):
        # Warm up, stay, and cool down over the last quarter: how long a training will be need not
        # be known before its last quarter.
        cool = min(1.0, 4 * (args.steps - step) / args.steps)
        rate = RATE * min(1.0, (step + 1) / 150) * cool
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = torch.randint(0, len(scenes), (args.batch,), generator=random)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(scenes[chosen], random)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean = loss.item() if mean is None else 0.99 * mean + 0.01 * loss.item()
        now = time.monotonic()
        if (step + 1) % 100 == 0:
            speed = (step + 1) * args.batch / (now - begun)
            print(f"step {step + 1} loss {mean:.4f} {speed:.0f} images/s", flush=True)
        if now - saved > args.save_secs or step + 1 == args.steps:
            export(model, args, step + 1, mean, now - begun)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                        "random": random.get_state(), "step": step + 1, "loss": mean,
                        "secs": now - begun}, state)
            saved = now


def export(model: torch.nn.Module, args: argparse.Namespace, steps: int, loss: float, secs: float) -> None:
    """Writes the backbone, without what only its training needed."""
    tensors = {name: t.detach().to(torch.float16).contiguous() for name, t in model.vit.state_dict().items()}
    about = {"objective": args.objective, "steps": steps, "of": args.steps, "batch": args.batch,
             "seed": args.seed, "loss": round(loss, 4), "secs": round(secs), "torch": torch.__version__}
    beside = args.out.with_suffix(".part")
    save_file(tensors, beside, metadata={"training": json.dumps(about)})
    os.replace(beside, args.out)


if __name__ == "__main__":
    main()
