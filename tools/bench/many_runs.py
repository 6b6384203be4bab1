"""Many finished runs out of a few, to measure what `vitscope compare` does with them.

    python tools/bench/many_runs.py COUNT OUT RUN...

Copies the runs in turn, each copy with another seed or number of steps and with numbers nudged by up to 2 %,
so that they are valid and tell themselves apart; pictures and tensors are hard links. Nothing is measured by it.
"""

import csv
import json
import os
import random
import sys
from pathlib import Path

STEPS = [50, 100, 200, 400]
#: Where a nudged value may not leave its range.
NUDGED = {"miou", "accuracy", "iou", "nmi", "nmi_grid", "nmi_excess", "loss"}


def link(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        inner = path.relative_to(source)
        if path.is_dir() or inner.parts[0] in {"figures", "report.html", "run.json", "metrics.csv"}:
            continue
        (target / inner).parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target / inner)


def nudge(row: dict[str, str], factor: float) -> dict[str, str]:
    if row["metric"] in NUDGED and row["facet"] != "ground_truth":
        for name in ("value", "low", "high"):
            if row[name]:
                row[name] = repr(max(-1.0, min(1.0, float(row[name]) * factor)))
    return row


def main() -> None:
    count, out, sources = int(sys.argv[1]), Path(sys.argv[2]), [Path(p) for p in sys.argv[3:]]
    for index in range(count):
        source = sources[index % len(sources)]
        variant = index // len(sources)
        steps, seed = STEPS[variant % len(STEPS)], variant // len(STEPS)
        target = out / f"{source.name}-steps{steps}-seed{seed}"
        target.mkdir(parents=True)
        link(source, target)
        record = json.loads((source / "run.json").read_text())
        record["seed"] = record["settings"]["seed"] = seed
        record["settings"]["steps"] = steps
        (target / "run.json").write_text(json.dumps(record, indent=2))
        chance = random.Random(index)
        with (source / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        with (target / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(nudge(row, 1 - 0.02 * chance.random()) for row in rows)


main()
