"""Trains one of the demo's models until a time is up, and writes it as f16 safetensors in timm's names.

    python train.py contrastive SCENES contrastive.safetensors --secs 600 --set temperature=0.2

SCENES is a folder with train.npy, validation.npy and validation.masks.npy, as train_all.sh makes them; it is
waited for. On a graphics card if there is one, else on the CPU.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from contrastive import Contrastive
from distilled import Distilled
from judge import best, judge
from masked import Masked

OBJECTIVES = {"masked": Masked, "contrastive": Contrastive, "distilled": Distilled}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("objective", choices=OBJECTIVES)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--secs", type=float, help="how long it takes from now on")
    parser.add_argument("--until", type=float, help="or when it ends, in seconds since 1970")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--begin", type=Path, help="a model of this objective to go on from, and its rate rises sooner")
    parser.add_argument("--teacher", type=Path, help="another model, from which a distilled one learns in place of its own mean")
    parser.add_argument("--judged", type=int, default=4, help="how often the validation scenes are looked at")
    parser.add_argument("--eager", action="store_true", help="no CUDA graph")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the objective")
    args = parser.parse_args()
    if args.teacher and args.objective != "distilled":
        parser.error(f"--teacher: {args.objective} learns from no other model; distilled does")
    begun = time.time()
    until = args.until or begun + args.secs
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.init()
    # A CUDA graph draws anew each time from the device's own generator, and from no other.
    random = torch.cuda.default_generators[0] if device == "cuda" else torch.default_generator
    torch.manual_seed(args.seed)
    settings = {name: float(value) if "." in value else int(value)
                for name, value in (pair.split("=") for pair in args.set)}
    model = OBJECTIVES[args.objective](**settings).to(device)
    if args.begin:
        (model.begin if isinstance(model, Distilled) else model.vit.load_state_dict)(load_file(args.begin))
    if args.teacher:
        model.learn_from(load_file(args.teacher))
    train, held, masks = (torch.from_numpy(awaited(args.scenes / name)).to(device)
                          for name in ("train.npy", "validation.npy", "validation.masks.npy"))
    about = {"objective": args.objective, **settings, "batch": args.batch, "rate": args.rate, "seed": args.seed,
             "scenes": len(train), "torch": torch.__version__,
             "device": torch.cuda.get_device_name() if device == "cuda" else "CPU"}
    for name, path in (("begun_with", args.begin), ("teacher", args.teacher)):
        if path:
            with safe_open(path, "pt") as before:
                about[name] = json.loads(before.metadata()["training"])
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in learned if p.ndim >= 2], "weight_decay": 0.05},
              {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0}]
    rate = torch.tensor(args.rate, device=device)
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=device == "cuda",
                                  capturable=device == "cuda")

    def learn() -> tuple[torch.Tensor, torch.Tensor]:
        """One step; its loss, and which scenes it saw."""
        chosen = torch.randint(0, len(train), (args.batch,), generator=random, device=device)
        optimizer.zero_grad(set_to_none=True)
        # A CPU without products of such numbers converts them, and takes ten times as long as with f32.
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda", cache_enabled=False):
            loss = model(train[chosen], random)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        return loss.detach(), chosen

    begun, step, looks = time.time(), 0, 0
    span = max(until - begun, 1.0)
    print(f"{json.dumps(about)}: {span:.0f} s from here", flush=True)
    if device == "cuda" and not args.eager:
        rate.fill_(1e-5)
        learn = recorded(learn)
        print(f"recorded a step within {time.time() - begun:.1f} s", flush=True)
    while (done := (time.time() - begun) / span) < 1:
        # Warm up, stay, and cool down over the last third.
        rate.fill_(args.rate * min(1.0, (step + 1) / (30 if args.begin else 200), 3 * (1 - done)))
        loss, _ = learn()
        if isinstance(model, Distilled):
            model.follow(done)
        step += 1
        # A card works behind the program: without this the program would run seconds ahead of it.
        if step % 10 == 0 and device == "cuda":
            torch.cuda.synchronize()
        if step == 30 or done > (looks + 1) / args.judged:
            looks = int(done * args.judged)
            look(model, args, about, step, loss.item(), time.time() - begun, held, masks)
    look(model, args, about, step, loss.item(), time.time() - begun, held, masks, last=True)


def awaited(path: Path) -> np.ndarray:
    """The array of a file that may still be on its way."""
    while not path.exists():
        time.sleep(0.1)
    return np.load(path)


def recorded(learn: Callable) -> Callable:
    """The same step as one CUDA graph: launching its thousand kernels one by one takes longer than they do.
    Where that fails, all begins anew without it."""
    try:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(4):
                learn()
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = loss, chosen = learn()
        graph.replay()
        before = chosen.clone()
        graph.replay()
        if torch.equal(before, chosen) or not torch.isfinite(loss).item():
            raise RuntimeError(f"a recorded step draws no new scenes, or its loss is not finite: {loss.item()}")
    except Exception as error:
        print(f"no CUDA graph: {error}", flush=True)
        os.execv(sys.executable, [sys.executable, *sys.argv, "--eager"])

    def again() -> tuple[torch.Tensor, torch.Tensor]:
        graph.replay()
        return result

    return again


def look(model: torch.nn.Module, args: argparse.Namespace, about: dict, steps: int, loss: float, secs: float,
         held: torch.Tensor, masks: torch.Tensor, last: bool = False) -> None:
    """Judges the backbone on the validation scenes, says so in a line, and writes it."""
    vit = model.kept() if isinstance(model, Distilled) else model.vit
    slots = judge(vit, held, masks)
    parts = [f"{args.out.stem:<14} {secs:4.0f} s step {steps:5} {steps * args.batch / secs:6.0f} images/s loss {loss:.3f}"]
    for facet, which, name in (("token", 0, "mIoU"), ("token", 1, "NMI"), ("key", 0, "mIoU"), ("key", 1, "NMI")):
        slot, miou, nmi = best(slots, facet, which)
        parts.append(f"best {name} {slot} mIoU {miou:.3f} NMI {nmi:.3f}")
    print(" | ".join(parts), flush=True)
    if last:
        print(args.out.stem, "all", json.dumps({slot: [round(v, 3) for v in pair] for slot, pair in slots.items()}),
              flush=True)
    tensors = {name: t.detach().to("cpu", torch.float16).contiguous() for name, t in vit.state_dict().items()}
    about = {**about, "steps": steps, "secs": round(secs), "loss": round(loss, 4)}
    beside = args.out.with_suffix(".part")
    save_file(tensors, beside, metadata={"training": json.dumps(about)})
    os.replace(beside, args.out)


if __name__ == "__main__":
    main()
