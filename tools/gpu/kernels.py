"""Time per kernel from `ncu --csv --metrics gpu__time_duration.sum`: python3 kernels.py FILE [IMAGES]."""
import csv
import sys
from collections import defaultdict

lines = [line for line in open(sys.argv[1]) if line.startswith('"')]
images = float(sys.argv[2]) if len(sys.argv) > 2 else 1
total = defaultdict(lambda: [0, 0.0])
for row in csv.DictReader(lines):
    try:
        value = float(row["Metric Value"].replace(",", ""))
    except (KeyError, ValueError):
        continue
    value *= {"ns": 1e-3, "nsecond": 1e-3, "us": 1, "usecond": 1, "ms": 1e3, "msecond": 1e3}.get(row["Metric Unit"], 1e-3)
    name = row["Kernel Name"].split("(")[0][:60]
    total[name][0] += 1
    total[name][1] += value
whole = sum(t for _, t in total.values())
for name, (count, t) in sorted(total.items(), key=lambda item: -item[1][1])[:22]:
    print(f"{t:10.1f} us {100 * t / whole:5.1f} % {count:5d} x {t / count:9.2f} us  {name}")
print(f"{whole:10.1f} us in all, {whole / images:.2f} us an image")
