#!/usr/bin/env python3
"""Recomputes dumped cases with NumPy in fp64, straight from the definitions, and compares.

    recompute_dump.py DUMP_DIR

DUMP_DIR is what `ringside sweep --dump DUMP_DIR` wrote: one folder a case. Exit status 1 if a tensor's relative
Frobenius error exceeds what its storage type explains: 2e-6 for fp32, 4e-3 for bf16 (one rounding to 8 bits of
significand has a standard error of 2^-8/sqrt(12)..2^-8/sqrt(3), 1.1e-3 to 2.3e-3).
"""
import json
import pathlib
import sys

import numpy as np

LIMIT = {"fp32": 2e-6, "bf16": 4e-3}


def weights(case, q, k, slopes, head):
    """Softmax: probabilities P. Lightning: decays D, both [n, n], zero where a query does not look."""
    n = case["seq"]
    row, column = np.indices((n, n))
    if case["operator"] == "lightning":
        return np.where(column <= row, np.exp(-np.float64(slopes[head]) * np.maximum(row - column, 0)), 0.0)
    logits = q @ k.T / np.sqrt(case["head_dim"])
    if case["causal"]:
        logits = np.where(column <= row, logits, -np.inf)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def recompute(case, q, k, v, do, slopes):
    """Global o, dq, dk, dv."""
    batch, heads = q.shape[:2]
    group = heads // k.shape[1]
    o, dq, dk, dv = np.zeros(do.shape), np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    for b in range(batch):
        for h in range(heads):
            kv = h // group
            qh, kh, vh, doh = q[b, h], k[b, kv], v[b, kv], do[b, h]
            w = weights(case, qh, kh, slopes, h)
            if case["operator"] == "lightning":
                scores, dscores = w * (qh @ kh.T), w * (doh @ vh.T)
                scale = 1.0
            else:
                dp = doh @ vh.T
                scores, dscores = w, w * (dp - (w * dp).sum(axis=1, keepdims=True))
                scale = 1 / np.sqrt(case["head_dim"])
            o[b, h] = scores @ vh
            dq[b, h] = scale * dscores @ kh
            dk[b, kv] += scale * dscores.T @ qh
            dv[b, kv] += scores.T @ doh
    return {"o": o, "dq": dq, "dk": dk, "dv": dv}


def main(directory):
    folders = sorted(path.parent for path in pathlib.Path(directory).glob("*/case.json"))
    checked = wrong = 0
    for folder in folders:
        case = json.loads((folder / "case.json").read_text())
        load = lambda name: np.load(folder / f"{name}.npy").astype(np.float64)
        slopes = load("slopes") if case["operator"] == "lightning" else None
        truth = recompute(case, load("q"), load("k"), load("v"), load("do"), slopes)
        for name, expected in truth.items():
            norm = np.linalg.norm(expected)
            error = np.linalg.norm(load(name) - expected) / norm if norm > 1e-12 else np.abs(load(name)).max()
            checked += 1
            if not error <= LIMIT[case["dtype"]]:
                wrong += 1
                print(f"{folder.name}: {name}: relative error {error:.3g}")
    print(f"{checked} tensors of {len(folders)} cases recomputed, {wrong} wrong")
    return 1 if wrong or not checked else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
