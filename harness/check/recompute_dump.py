#!/usr/bin/env python3
"""Recomputes dumped cases with NumPy in fp64 and compares.

    recompute_dump.py DUMP_DIR

DUMP_DIR is what `ringside sweep --dump DUMP_DIR` wrote: one folder a case. Needs NumPy (Debian: python3-numpy, for
/usr/bin/python3). Exit status 1 if a tensor is further from the definitions than its rounding explains, as a norm over
the whole tensor: u_store·|what is rounded to storage| + 8·u·|sum of its terms' magnitudes|, u = 2^-24. For softmax a
logit's rounding error is a relative error of its weight, so magnitudes are multiplied by 1 + the row's largest logit,
and Δ is taken from o as it was stored. TF32 takes 2^-10 off each operand, bf16 2^-8, six of them in a chain of products. Below
its smallest normal number a type rounds absolutely; where a result is infinite, the definitions must give one beyond
what the type holds, which then leaves the norm. Cases with NaN or inf in their inputs are left out.
"""
import json
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("recompute_dump.py: this python3 has no numpy; try /usr/bin/python3 with python3-numpy installed")

U = 2.0**-24
U_STORE = {"fp32": 2.0**-24, "bf16": 2.0**-8, "fp16": 2.0**-11}
SMALLEST = {"fp32": 2.0**-126, "bf16": 2.0**-126, "fp16": 2.0**-14}
LARGEST = {"fp32": 2.0**128, "bf16": 2.0**128, "fp16": 2.0**16}  # first power of two that is infinite
U_OPERANDS = {"fp32": 0.0, "tf32": 6 * 2.0**-10, "bf16": 6 * 2.0**-8}
NAMES = ("o", "dq", "dk", "dv")


def seen_by(case, n):
    """[query, key]: which keys a query sees. Padding, behind the last document, sees nothing and is not seen."""
    row, column = np.indices((n, n))
    packed = case["cu_seqlens"] != "none"
    bounds = [int(x) for x in case["cu_seqlens"].split("+")] if packed else [0, n - case["padding"]]
    document = np.searchsorted(bounds, np.arange(n), side="right")
    seen = (document[:, None] == document[None, :]) & (np.arange(n) < bounds[-1])[:, None]
    if case["causal"]:
        seen &= column <= row
    if case["window"] > 0:
        seen &= row - column < case["window"]
    return seen


def lightning_head(q, k, v, do, slope, seen):
    """For each output of one head: value, what is rounded to storage, sum of magnitudes."""
    row, column = np.indices(seen.shape)
    decay = np.where(seen, np.exp(-np.float64(slope) * np.maximum(row - column, 0)), 0.0)

    def outputs(q, k, v, do):
        scores, dscores = decay * (q @ k.T), decay * (do @ v.T)
        return scores @ v, dscores @ k, dscores.T @ q, scores.T @ do

    values = outputs(q, k, v, do)
    magnitudes = outputs(*map(np.abs, (q, k, v, do)))
    return {name: (x, np.abs(x), m) for name, x, m in zip(NAMES, values, magnitudes)}


def softmax_head(q, k, v, do, seen):
    """The same for softmax attention."""
    scale = 1 / np.sqrt(q.shape[1])
    logits = scale * q @ k.T
    top = np.where(seen, logits, -np.inf).max(axis=1, keepdims=True)
    top = np.where(seen.any(axis=1, keepdims=True), top, 0.0)
    p = np.exp(np.where(seen, logits - top, -np.inf))
    p /= np.maximum(p.sum(axis=1, keepdims=True), 1.0)  # at least 1, or 0 in a row that sees nothing
    weight = p * (1 + scale * np.where(seen, np.abs(q) @ np.abs(k).T, 0).max(axis=1, keepdims=True))
    o, dp = p @ v, do @ v.T
    delta = (do * o).sum(axis=1, keepdims=True)
    rounded = (np.abs(do) * np.abs(o)).sum(axis=1, keepdims=True)  # of Δ, through the stored o
    ds, ds_size = p * (dp - delta), weight * (np.abs(do) @ np.abs(v).T + rounded)
    dq, dk, dv = scale * ds @ k, scale * ds.T @ q, p.T @ do
    return {"o": (o, np.abs(o), weight @ np.abs(v)),
            "dq": (dq, np.abs(dq) + scale * (p * rounded) @ np.abs(k), scale * ds_size @ np.abs(k)),
            "dk": (dk, np.abs(dk) + scale * (p * rounded).T @ np.abs(q), scale * ds_size.T @ np.abs(q)),
            "dv": (dv, np.abs(dv), weight.T @ np.abs(do))}


def recompute(case, q, k, v, do, slopes):
    """Global outputs: name -> (value, rounded to storage, magnitudes)."""
    group, seen = q.shape[1] // k.shape[1], seen_by(case, q.shape[2])
    shapes = {"o": do.shape, "dq": q.shape, "dk": k.shape, "dv": v.shape}
    total = {name: tuple(np.zeros(shape) for _ in range(3)) for name, shape in shapes.items()}
    for b, h in np.ndindex(q.shape[:2]):
        operands = q[b, h], k[b, h // group], v[b, h // group], do[b, h]
        if case["operator"] == "lightning":
            parts = lightning_head(*operands, slopes[h], seen)
        else:
            parts = softmax_head(*operands, seen)
        for name, of_head in parts.items():
            at = (b, h if name in ("o", "dq") else h // group)  # dk and dv are sums over the group
            for whole, part in zip(total[name], of_head):
                whole[at] += part
    return total


def main(directory):
    folders = sorted(path.parent for path in pathlib.Path(directory).glob("*/case.json"))
    if not folders:
        sys.exit(f"recompute_dump.py: {directory}: no case.json in any folder of it")
    checked = wrong = left_out = 0
    for folder in folders:
        case = json.loads((folder / "case.json").read_text())
        load = lambda name: np.load(folder / f"{name}.npy").astype(np.float64)
        inputs = [load(name) for name in ("q", "k", "v", "do")]
        if not all(np.isfinite(x).all() for x in inputs):
            left_out += 1
            continue
        slopes = load("slopes") if case["operator"] == "lightning" else None
        for name, (value, stored, magnitude) in recompute(case, *inputs, slopes).items():
            u_store, u = U_STORE[case["dtype"]], 8 * U + U_OPERANDS[case["math"]]
            stored, result = np.maximum(stored, SMALLEST[case["dtype"]]), load(name)
            overflown = np.isinf(result) & (result * value > 0) & (
                np.abs(value) + u_store * stored + u * magnitude >= LARGEST[case["dtype"]] * (1 - u_store / 2))
            error = np.linalg.norm(np.where(overflown, 0, result - value))
            limit = u_store * np.linalg.norm(stored) + u * np.linalg.norm(magnitude) + 1e-30
            checked += 1
            if not error <= limit:
                wrong += 1
                print(f"{folder.name}: {name}: off by {error:.3g} (norm), limit {limit:.3g}")
    print(f"{checked} tensors of {len(folders) - left_out} cases recomputed, {wrong} wrong"
          + (f", {left_out} cases with NaN or inf left out" if left_out else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    sys.exit(main(sys.argv[1]))
