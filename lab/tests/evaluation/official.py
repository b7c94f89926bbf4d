"""Formulas of official evaluations, written for the tests alone."""

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)


def average_precision(truth, results, likeness, thresholds=THRESHOLDS):
    """Return COCO's AP in per cent: greedy assignment by descending score, and the mean precision at 101 recalls.

    `truth`: (image, what, whether it counts); what fits one that does not count counts neither way. `results`: (image,
    what, score). `likeness` of the two kinds of `what` is IoU or OKS.
    """
    counted, mean = sum(counts for _, _, counts in truth), []
    for threshold in thresholds:
        taken, right = set(), []
        for image, what, _ in sorted(results, key=lambda one: -one[2]):
            free = [place for place, label in enumerate(truth) if label[0] == image and place not in taken]
            fits = {place: likeness(truth[place][1], what) for place in free}
            fits = {place: value for place, value in fits.items() if value >= threshold}
            best = max(fits, key=lambda place: (truth[place][2], fits[place]), default=None)
            taken.add(best)
            if best is None or truth[best][2]:
                right.append(best is not None)
        hits = np.cumsum(right)
        precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
        places = np.searchsorted(hits / counted, np.linspace(0, 1, 101))
        mean.append(np.mean([precision[place] if place < len(hits) else 0 for place in places]))
    return 100 * np.mean(mean)
