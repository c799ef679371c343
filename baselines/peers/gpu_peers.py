#!/usr/bin/env python3
"""Times PyTorch's attention on a GPU beside ringside's kernels.

    gpu_peers.py --json FILE                                times the peers
    gpu_peers.py --table FILE… [--joined FILE]              one table of files of both kinds

Batch 2, 12 heads, head and value dim 128, bf16, n = 2048, 8192, 32768:
- causal softmax attention by scaled_dot_product_attention with the cuDNN and with the flash backend, forward and backward
  (through autograd, backward alone timed);
- lightning attention (linear attention with a decay a head) in chunks, products in bf16 with fp32 sums as torch.bmm does
  them, in the best of a few chunk lengths: all chunks in one product, the states carried by a scan over chunks. Backward
  written by hand, as autograd would record and copy more.

Times are CUDA events' around the region, medians after a warm-up, on random data; the host runs ahead of the device behind
a large copy. Inputs rotate among so many sets that the cache does not hold them. Each peer's result is held against fp64
in a few rows before it is timed. Exit status: 0 timed (a peer that this PyTorch lacks is named and left out), 1 a peer is
wrong, 2 no PyTorch with a GPU.
"""

import argparse
import json
import math
import pathlib
import sys
from typing import Any, Callable, Iterator, NamedTuple, Sequence

try:
    import torch
except ImportError:
    torch = None

BATCH, HEADS, DIM = 2, 12, 128
DEVICE = "cuda"
CACHE = 64 << 20
# As in kernel_times: operands of each product, and the output, are rounded to bf16.
SAME = 0.01


class Work(NamedTuple):
    """Useful FLOPs, and the bytes that a pass must move at least; kernel_times counts the same."""

    flops: float
    bytes: float


def work(kernel: str, tokens: int) -> Work:
    rows = BATCH * HEADS * tokens
    pairs = rows * (tokens + 1) / 2
    if kernel == "softmax forward":
        return Work(4 * pairs * DIM, rows * DIM * 4 * 2)
    if kernel == "softmax backward":
        return Work(10 * pairs * DIM, rows * DIM * 8 * 2)
    if kernel == "lightning forward":
        return Work(rows * (64 * 2 * DIM + 4 * DIM * DIM), rows * DIM * 4 * 2)
    return Work(rows * (64 * 5 * DIM + 8 * DIM * DIM), rows * DIM * 7 * 2)


# --- timing


class Timer:
    def __init__(self) -> None:
        self.filler = torch.zeros(2, 1 << 30, dtype=torch.uint8, device=DEVICE)

    def measure(self, call: Callable[[int], Any], samples: int, calls: int) -> list[float]:
        """Milliseconds a call, sorted; call(i) for i = 0, 1, …"""
        number = 0
        for _ in range(3):
            call(number)
            number += 1
        times = []
        for _ in range(samples):
            torch.cuda.synchronize()
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            for _ in range(3):
                self.filler[1].copy_(self.filler[0])
            begin.record()
            for _ in range(calls):
                call(number)
                number += 1
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / calls)
        return sorted(times)


def row(source: str, kernel: str, tokens: int, times: Sequence[float], error: float) -> dict[str, Any]:
    return {
        "source": source,
        "kernel": kernel,
        "tokens": tokens,
        "median_ms": times[len(times) // 2],
        "least_ms": times[0],
        "most_ms": times[-1],
        "samples": len(times),
        **work(kernel, tokens)._asdict(),
        "error": error,
    }


# --- references: rows in fp64


def off(value: Any, truth: Any) -> float:
    """‖value − truth‖ / ‖truth‖; infinite if either is no number."""
    error = float((value.double() - truth).norm() / truth.norm())
    return error if math.isfinite(error) else math.inf


def softmax_row(q: Any, k: Any, v: Any, at: tuple[int, int, int]) -> Any:
    b, h, i = at
    logits = (k[b, h, : i + 1].double() @ q[b, h, i].double()) / DIM**0.5
    return logits.softmax(0) @ v[b, h, : i + 1].double()


def lightning_row(q: Any, k: Any, v: Any, slopes: Any, at: tuple[int, int, int]) -> Any:
    b, h, i = at
    back = torch.arange(i, -1, -1, device=q.device, dtype=torch.float64)
    scores = (k[b, h, : i + 1].double() @ q[b, h, i].double()) * torch.exp(-slopes[h] * back)
    return scores @ v[b, h, : i + 1].double()


def places(tokens: int) -> Iterator[tuple[int, int, int]]:
    yield from ((0, 0, 1), (0, 5, tokens // 2 + 3), (1, HEADS - 1, tokens - 1))


# --- the peers


def draw(tokens: int) -> list[list[Any]]:
    """Sets of q, k, v, do."""
    shape = (BATCH, HEADS, tokens, DIM)
    sets = min(8, max(1, 3 * CACHE // (4 * 2 * math.prod(shape))))
    return [[torch.randn(shape, device=DEVICE, dtype=torch.bfloat16) for _ in range(4)] for _ in range(sets)]


def softmax_peer(backend: Any, sets: list[list[Any]], tokens: int, timer: Timer, name: str) -> list[dict[str, Any]]:
    from torch.nn.attention import sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    samples, calls = counts(tokens)
    with sdpa_kernel(backend):
        q, k, v, do = sets[0]
        o = sdpa(q, k, v, is_causal=True)
        error = max(off(o[at], softmax_row(q, k, v, at)) for at in places(tokens))
        forward = timer.measure(lambda i: sdpa(*sets[i % len(sets)][:3], is_causal=True), samples, calls)
        rows = [row(name, "softmax forward", tokens, forward, error)]

        graphs = []
        for q, k, v, do in sets:
            leaves = [x.detach().requires_grad_() for x in (q, k, v)]
            graphs.append((sdpa(*leaves, is_causal=True), leaves, do))

        def backward(i: int) -> Any:
            o, leaves, do = graphs[i % len(graphs)]
            return torch.autograd.grad(o, leaves, do, retain_graph=True)

        # dq of a row: P∘(dP − delta)·k·scale
        dq = backward(0)[0]
        q, k, v, do = sets[0]
        error = 0.0
        for b, h, i in places(tokens):
            keys, values = k[b, h, : i + 1].double(), v[b, h, : i + 1].double()
            p = (keys @ q[b, h, i].double() / DIM**0.5).softmax(0)
            dp = values @ do[b, h, i].double()
            truth = (p * (dp - (p * dp).sum())) @ keys / DIM**0.5
            error = max(error, off(dq[b, h, i], truth))
        rows.append(row(name, "softmax backward", tokens, timer.measure(backward, samples, calls), error))
    return rows


class Decay(NamedTuple):
    """Powers of λ in a chunk of C tokens, one a head: [1, H, 1, …] in bf16, `whole` in fp32."""

    mask: Any  # [.., C, C]: λ^(i-j) on and below the diagonal
    from_left: Any  # [.., C, 1]: λ^i, of a state that enters
    to_right: Any  # [.., C, 1]: λ^(C-j), to the state after the chunk
    whole: Any  # λ^C


def decay(slopes: Any, chunk: int) -> Decay:
    rate = slopes.double()[None, :, None, None, None]
    i = torch.arange(chunk, dtype=torch.float64, device=DEVICE)
    distance = i[:, None] - i[None, :]
    half = torch.bfloat16
    return Decay(
        (torch.exp(-rate * distance.clamp(min=0)) * (distance >= 0)).to(half),
        torch.exp(-rate * i[:, None]).to(half),
        torch.exp(-rate * (chunk - i)[:, None]).to(half),
        torch.exp(-rate * chunk).float(),
    )


def carried(own: Any, whole: Any, order: Sequence[int]) -> Any:
    """What enters each chunk, in this order, of the chunks' own states, [B, H, chunks, D, D]; fp32 sums."""
    entering = torch.empty_like(own)
    state = torch.zeros_like(own[:, :, 0], dtype=torch.float32)
    for at in order:
        entering[:, :, at] = state
        state = torch.addcmul(own[:, :, at].float(), state, whole[:, :, 0])
    return entering


def lightning_forward(q: Any, k: Any, v: Any, d: Decay) -> Any:
    """q, k, v: [B, H, chunks, C, D]."""
    states = carried((k * d.to_right).mT @ v, d.whole, range(q.shape[2]))
    return (q @ k.mT * d.mask) @ v + (q * d.from_left) @ states


def lightning_backward(q: Any, k: Any, v: Any, do: Any, d: Decay) -> Any:
    chunks = range(q.shape[2])
    k_right, do_left = k * d.to_right, do * d.from_left
    states = carried(k_right.mT @ v, d.whole, chunks)
    dstates = carried(q.mT @ do_left, d.whole, chunks[::-1])
    scores, dscores = q @ k.mT * d.mask, do @ v.mT * d.mask
    dq = dscores @ k + do_left @ states.mT
    dk = dscores.mT @ q + (v * d.to_right) @ dstates.mT
    dv = scores.mT @ do + k_right @ dstates
    return dq, dk, dv


def lightning_peer(sets: list[list[Any]], tokens: int, timer: Timer) -> list[dict[str, Any]]:
    slopes = torch.tensor([2 ** (-8 * (h + 1) / HEADS) for h in range(HEADS)], device=DEVICE, dtype=torch.float64)
    samples, calls = counts(tokens)
    best: dict[str, dict[str, Any]] = {}
    for chunk in (128, 256, 512):
        tables = decay(slopes, chunk)
        cut = [[x.view(BATCH, HEADS, tokens // chunk, chunk, DIM) for x in xs] for xs in sets]
        q, k, v, do = sets[0]
        o = lightning_forward(*cut[0][:3], tables).view_as(q)
        dq = lightning_backward(*cut[0], tables)[0].reshape(q.shape)
        errors = (
            max(off(o[at], lightning_row(q, k, v, slopes, at)) for at in places(tokens)),
            # dq_i = sum λ^(i-j) (do_i·v_j) k_j: the same operator on do, v, k
            max(off(dq[at], lightning_row(do, v, k, slopes, at)) for at in places(tokens)),
        )
        calls_of = {
            "lightning forward": lambda i: lightning_forward(*cut[i % len(cut)][:3], tables),
            "lightning backward": lambda i: lightning_backward(*cut[i % len(cut)], tables),
        }
        for (kernel, call), error in zip(calls_of.items(), errors):
            timed = row(f"torch chunks of {chunk}", kernel, tokens, timer.measure(call, samples, calls), error)
            if kernel not in best or timed["median_ms"] < best[kernel]["median_ms"]:
                best[kernel] = timed
    return list(best.values())


def counts(tokens: int) -> tuple[int, int]:
    """Samples, and calls of each."""
    return (9 if tokens >= 32768 else 25), (1 if tokens >= 8192 else 4)


def time_peers() -> list[dict[str, Any]]:
    from torch.nn.attention import SDPBackend

    torch.manual_seed(3)
    timer = Timer()
    rows = []
    for tokens in (2048, 8192, 32768):
        sets = draw(tokens)
        peers = {
            "torch SDPA cuDNN": lambda name: softmax_peer(SDPBackend.CUDNN_ATTENTION, sets, tokens, timer, name),
            "torch SDPA flash": lambda name: softmax_peer(SDPBackend.FLASH_ATTENTION, sets, tokens, timer, name),
            "torch chunks": lambda name: lightning_peer(sets, tokens, timer),
        }
        for name, peer in peers.items():
            try:
                rows += peer(name)
            except (RuntimeError, AttributeError) as error:  # a backend that is not there, or takes no such shape
                print(f"{name}, n {tokens}: left out: {str(error).splitlines()[0]}", file=sys.stderr)
            torch.cuda.empty_cache()
    return rows


# --- one table


def joined_table(files: Sequence[pathlib.Path]) -> tuple[str, dict[str, Any]]:
    """Rows by kernel and length, ours first; a source that comes twice shows both medians."""
    contents = [json.loads(file.read_text()) for file in files]
    ceilings = next(c["ceilings"] for c in contents if "ceilings" in c)
    rows: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for content in contents:
        for one in content["rows"]:
            rows.setdefault((one["kernel"], one["tokens"], one["source"]), []).append(one)
    lines = [f"{'kernel':<26} {'n':>6}  {'by':<20} {'median ms':>10} {'again':>10} {'TFLOP/s':>8} {'GB/s':>6} {'floor':>7}"]
    last = None
    for (kernel, tokens, source), found in sorted(
        rows.items(), key=lambda item: (item[0][0].split(",")[0], item[0][1], item[0][2] != "ringside", item[0])
    ):
        if last not in (None, (kernel.split(",")[0], tokens)):
            lines.append("")
        last = (kernel.split(",")[0], tokens)
        one = found[0]
        ms = one["median_ms"]
        floor = max(one["flops"] / ceilings["tflops"] * 1e-9, one["bytes"] / ceilings["gbs"] * 1e-6)
        again = f"{found[1]['median_ms']:10.4f}" if len(found) > 1 else f"{'-':>10}"
        wrong = "" if one["error"] is not None and one["error"] <= SAME else "  WRONG"
        lines.append(
            f"{kernel:<26} {tokens:>6}  {source:<20} {ms:10.4f} {again} {one['flops'] / ms * 1e-9:8.1f} "
            f"{one['bytes'] / ms * 1e-6:6.0f} {floor / ms:7.1%}{wrong}"
        )
    lines.append(
        f"floor: share of the larger of useful FLOPs at {ceilings['tflops']:.0f} TFLOP/s and least bytes at "
        f"{ceilings['gbs']:.0f} GB/s, measured in the same run"
    )
    everything = [one for found in rows.values() for one in found]
    return "\n".join(lines), {"ceilings": ceilings, "rows": everything}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=pathlib.Path, help="file for the peers' times")
    parser.add_argument("--table", type=pathlib.Path, nargs="+", help="files of times to print as one table")
    parser.add_argument("--joined", type=pathlib.Path, help="file for what --table joins")
    arguments = parser.parse_args()
    if arguments.table:
        text, joined = joined_table(arguments.table)
        print(text)
        if arguments.joined:
            arguments.joined.write_text(json.dumps(joined, indent=1) + "\n")
        return
    if torch is None or not torch.cuda.is_available():
        print("gpu_peers.py: no PyTorch that sees a GPU here", file=sys.stderr)
        sys.exit(2)
    rows = time_peers()
    if arguments.json:
        arguments.json.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")
    for one in rows:
        print(f"{one['kernel']:<20} {one['tokens']:>6} {one['source']:<20} {one['median_ms']:.4f} ms, off by {one['error']:.1e}")
    if any(not one["error"] <= SAME for one in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
