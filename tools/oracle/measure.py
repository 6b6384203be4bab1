"""Golden figures for vitscope-measure: matching, quality, mutual information, relations.

    python tools/oracle/measure.py      (from the repository's root; numpy, scipy, scikit-learn)
"""

import numpy as np
import scipy
import sklearn
from scipy.optimize import linear_sum_assignment
from scipy.special import rel_entr
from scipy.stats import bootstrap, entropy, pearsonr, spearmanr
from sklearn.metrics import accuracy_score, jaccard_score, mutual_info_score

from lcg import Lcg, write

GOLDEN = "crates/vitscope-measure/tests/golden"
VERSIONS = f"numpy {np.__version__}, scipy {scipy.__version__}, scikit-learn {sklearn.__version__}"


def quality():
    arrays = {}
    for seed, (clusters, classes) in enumerate([(5, 5), (4, 7), (9, 4), (27, 27), (97, 27)]):
        rng = Lcg(100 + seed)
        # No zeros: where clusters overlap nothing, many matchings are best, and their mIoU differs.
        confusion = rng.below(4000, clusters, classes)
        confusion = np.where(rng.below(3, clusters, classes) == 0, confusion, confusion // 20 + 1)
        k, c = linear_sum_assignment(confusion, maximize=True)
        matched = np.full(clusters, -1)
        matched[k] = c
        joined = matched.copy()
        for left in np.flatnonzero(matched < 0):
            if confusion[left].max() > 0:
                joined[left] = confusion[left].argmax()
        for name, match in [("hungarian", matched), ("majority", joined)]:
            # Through sklearn, pixel by pixel: an unmatched cluster predicts a class of its own that no
            # average includes.
            pixels = confusion.ravel()
            truth = np.repeat(np.tile(np.arange(classes), clusters), pixels)
            predicted = np.repeat(np.repeat(np.where(match < 0, classes, match), classes), pixels)
            present = np.union1d(np.unique(truth), np.setdiff1d(np.unique(predicted), [classes]))
            iou = jaccard_score(truth, predicted, labels=present, average=None, zero_division=0)
            arrays[f"{name}_match_{seed}"] = match
            arrays[f"{name}_iou_{seed}"] = iou
            arrays[f"{name}_scores_{seed}"] = [iou.mean(), accuracy_score(truth, predicted)]
        arrays[f"agreement_{seed}"] = [confusion[k, c].sum()]
    write(f"{GOLDEN}/quality.txt", VERSIONS, **arrays)


def positional():
    arrays = {}
    for seed, (classes, positions) in enumerate([(2, 2), (5, 40), (27, 400), (3, 1)]):
        rng = Lcg(200 + seed)
        counts = rng.below(1000, classes, positions) * (rng.below(2, classes, positions) == 0)
        counts[0, 0] += 7
        joint = counts / counts.sum()
        of_class, of_position = joint.sum(1), joint.sum(0)
        parts = rel_entr(joint, np.outer(of_class, of_position)).sum(1)
        mi = mutual_info_score(None, None, contingency=counts)
        h = entropy(of_class)
        arrays[f"mi_{seed}"] = [mi, h, mi / h if h > 0 else -1.0]
        arrays[f"class_mi_{seed}"] = parts
        print("mi", seed, mi, abs(parts.sum() - mi))
    write(f"{GOLDEN}/positional.txt", VERSIONS, **arrays)


def locality():
    rng = Lcg(300)
    attention = rng.uniform(21, 21).astype(np.float64) + 0.5
    attention = attention**4
    patches = attention[5:, 5:] / attention[5:, 5:].sum()
    joint = np.outer(patches.sum(1), patches.sum(0))
    write(f"{GOLDEN}/locality.txt", VERSIONS, locality=[rel_entr(patches, joint).sum()])


def relation():
    rng = Lcg(400)
    x = rng.uniform(40).astype(np.float64)
    y = x + rng.uniform(40)
    ties_x, ties_y = rng.below(6, 40), rng.below(6, 40)
    interval = bootstrap((x, y), lambda a, b: pearsonr(a, b).statistic, paired=True, vectorized=False,
                         n_resamples=40000, method="percentile", random_state=0).confidence_interval
    write(f"{GOLDEN}/relation.txt", VERSIONS,
          pearson=[pearsonr(x, y).statistic, pearsonr(ties_x, ties_y).statistic],
          spearman=[spearmanr(x, y).statistic, spearmanr(ties_x, ties_y).statistic],
          interval=[interval.low, interval.high])


quality()
positional()
locality()
relation()
