#!/usr/bin/env python3
"""statistics_peer.py: the gate's statistics by other means, for statistics_test.

Reads samples, a line each; prints for each a line: p of scipy's exact signed-rank test, p by going through all signs,
and the bounds of the bootstrap interval of the median from scipy's binomial distribution. Ends with 77 if there is no scipy.
"""
import itertools
import sys

try:
    import numpy as np
    from scipy import stats
except ImportError as error:
    print(error)
    sys.exit(77)


def scipy_p(x):
    """NaN where scipy has no exact distribution: zeros, ties."""
    if len(set(np.abs(x))) < len(x) or 0 in x:
        return float("nan")
    return stats.wilcoxon(x, alternative="greater", mode="exact").pvalue


def enumerated_p(x):
    x = x[x != 0]
    if len(x) == 0:
        return 1.0
    ranks = stats.rankdata(np.abs(x))
    signs = np.array(list(itertools.product((0, 1), repeat=len(x)))).reshape(-1, len(x))
    return float(np.mean(signs @ ranks >= ranks[x > 0].sum()))


def interval(x):
    n = len(x)
    at_most = stats.binom.sf(n // 2, n, np.arange(1, n + 1) / n)
    ordered = np.sort(x)
    return [float(ordered[np.argmax(at_most >= share)]) for share in (0.025, 0.975)]


def resampled_shares(x, bounds):
    """Of 20 000 resampled medians: shares below the lower bound, at most it, and likewise of the upper one."""
    draws = np.random.default_rng(1).choice(x, size=(20_000, len(x)))
    medians = np.median(draws, axis=1)
    return [float(np.mean(test)) for b in bounds for test in (medians < b, medians <= b)]


for line in sys.stdin:
    sample = np.array([float(word) for word in line.split()])
    bounds = interval(sample)
    print(*(repr(float(v)) for v in [scipy_p(sample), enumerated_p(sample), *bounds, *resampled_shares(sample, bounds)]))
