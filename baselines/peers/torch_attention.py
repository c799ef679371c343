#!/usr/bin/env python3
"""Times ringside and PyTorch alternately on one CPU thread.

Forward and backward in fp32, batch 1, 12 heads, 2048 tokens, head and value dim 128:
- lightning attention against chunked PyTorch: batched matrix products in blocks, the state carried from block
  to block, backward written by hand (autograd would record and copy more), in two orders: chunk after chunk,
  whose operands stay in the cache, and all chunks in one product. Decay tables are made outside the time.
- causal softmax attention against PyTorch's scaled_dot_product_attention and plain matmul-softmax-matmul,
  both through autograd.

First both sides compute the same inputs and their outputs are compared; a difference beyond rounding ends the
program with 1. Ringside's figure is what `ringside sweep` reports for `lightning` and `ring` on one rank.
Denormals are flushed on both sides. Rounds alternate, so that a machine whose speed drifts slows both; the
ratio is the median over rounds.

OPENBLAS_CORETYPE is set to what the CPU can run unless it is set already: OpenBLAS may not know a newer CPU
and fall back to kernels several times slower. Needs PyTorch and NumPy (Debian: python3-torch and
libopenblas0-pthread; Debian's modules belong to /usr/bin/python3), and the built program. Exit status: 0
measured, 1 outputs differ, 2 something is missing.
"""

import argparse
import ctypes
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, NamedTuple, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADS, TOKENS, DIM = 12, 2048, 128
OUTPUTS = ("o", "dq", "dk", "dv")
VARIANT = {"lightning": "lightning", "softmax": "ring"}
# Two honest fp32 results differ by some 1e-6 (relative, Frobenius norm): roundings in sums of at most 2048
# terms, which add up at random. A wrong decay exponent, mask or scale shows as 1e-2 and more.
SAME = 1e-4

Pass = Callable[[], Sequence[Any]]  # computes o, dq, dk, dv


class Peer(NamedTuple):
    name: str
    run: Pass


def cpu_facts() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def openblas_core(cpu: dict[str, str]) -> str | None:
    """The quickest OpenBLAS kernels that this CPU can run; None to leave the choice to OpenBLAS."""
    flags = set(cpu.get("flags", "").split())
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return "SkylakeX"
    if {"avx2", "fma"} <= flags:
        return "Zen" if cpu.get("vendor_id") == "AuthenticAMD" else "Haswell"
    return None


def prepare_environment() -> None:
    """One thread, and OpenBLAS's core. Before PyTorch is imported, which loads OpenBLAS."""
    core = openblas_core(cpu_facts())
    if core:
        os.environ.setdefault("OPENBLAS_CORETYPE", core)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"


def fail(message: str) -> None:
    print(f"torch_attention.py: {message}", file=sys.stderr)
    sys.exit(2)


try:
    prepare_environment()
    import numpy as np
    import torch
except ImportError as error:
    if __name__ == "__main__" and not {"-h", "--help"} & set(sys.argv[1:]):
        fail(
            f"{sys.executable}: {error}; on Debian: apt-get install python3-torch libopenblas0-pthread, "
            "then run this with /usr/bin/python3"
        )


def blas_in_use() -> str:
    """The BLAS that PyTorch loaded, with its core if it is OpenBLAS."""
    loaded = {
        line.split()[-1]
        for line in pathlib.Path("/proc/self/maps").read_text().splitlines()
        if "blas" in line
    }
    for path in sorted(loaded):
        if "libopenblas" in path:
            library = ctypes.CDLL(path)
            library.openblas_get_corename.restype = ctypes.c_char_p
            return f"OpenBLAS, core {library.openblas_get_corename().decode()} ({path})"
    return ", ".join(sorted(loaded)) or "built into PyTorch"


# --- ringside


def sweep(program: pathlib.Path, operator: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Runs the operator's case on one rank and returns its row of results.jsonl."""
    with tempfile.TemporaryDirectory() as directory:
        cases = pathlib.Path(directory, "case.csv")
        cases.write_text(f"variant,seq,heads,head_dim\n{VARIANT[operator]},{TOKENS},{HEADS},{DIM}\n")
        command = [str(program), "sweep", str(cases), "--comm", "threads", "--out", directory, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            fail(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return json.loads(pathlib.Path(directory, "results.jsonl").read_text())


def time_ours(program: pathlib.Path, operator: str, repeat: int) -> float:
    """Seconds of forward and backward, median of `repeat` iterations in a fresh process."""
    row = sweep(program, operator, ["--repeat", str(repeat), "--time-limit", "3600"])
    return row["perf"]["forward_backward"]["median_s"]


def dumped_case(program: pathlib.Path, operator: str) -> dict[str, Any]:
    """Inputs and outputs of the case as ringside dumps them: [heads, tokens, dim]; slopes: [heads]."""
    with tempfile.TemporaryDirectory() as directory:
        sweep(program, operator, ["--no-perf", "--dump", directory])
        files = pathlib.Path(directory).glob("*/*.npy")
        return {file.stem: torch.from_numpy(np.load(file)).squeeze(0).contiguous() for file in files}


# --- lightning attention in PyTorch: o_i = sum over j <= i of λ^(i-j) (q_i·k_j) v_j, λ = exp(-slope)


class Decay(NamedTuple):
    """Powers of λ inside a block of C tokens, one a head."""

    mask: Any  # [H, C, C]: λ^(i-j) on and below the diagonal
    from_left: Any  # [H, C, 1]: λ^i, of a state that enters at the block's start
    to_right: Any  # [H, C, 1]: λ^(C-j), to the state after the block
    whole: Any  # [H, 1, 1]: λ^C


def decay_tables(slopes: Any, block: int) -> Decay:
    rate = slopes.double()[:, None, None]
    i = torch.arange(block, dtype=torch.float64)
    distance = i[:, None] - i[None, :]
    tables = (
        torch.exp(-rate * distance.clamp(min=0)) * (distance >= 0),
        torch.exp(-rate * i[None, :, None]),
        torch.exp(-rate * (block - i)[None, :, None]),
        torch.exp(-rate * block),
    )
    return Decay(*(table.float() for table in tables))


def lightning_chunk_by_chunk(case: dict[str, Any], block: int) -> Pass:
    """One block of all heads after the other."""
    q, k, v, do = (case[name] for name in ("q", "k", "v", "do"))
    decay = decay_tables(case["slopes"], block)
    blocks = [slice(start, start + block) for start in range(0, TOKENS, block)]

    def run() -> Sequence[Any]:
        o, dq, dk, dv = (torch.empty_like(x) for x in (do, q, k, v))
        state = q.new_zeros(HEADS, DIM, DIM)
        states, scores = [], []
        for at in blocks:
            states.append(state)
            scores.append(torch.bmm(q[:, at], k[:, at].mT).mul_(decay.mask))
            o[:, at] = torch.bmm(scores[-1], v[:, at]).baddbmm_(q[:, at] * decay.from_left, state)
            state = torch.baddbmm(state * decay.whole, (k[:, at] * decay.to_right).mT, v[:, at])
        state = q.new_zeros(HEADS, DIM, DIM)
        for at, left, score in reversed(list(zip(blocks, states, scores))):
            dscore = torch.bmm(do[:, at], v[:, at].mT).mul_(decay.mask)
            do_left = do[:, at] * decay.from_left
            dq[:, at] = torch.bmm(dscore, k[:, at]).baddbmm_(do_left, left.mT)
            dk[:, at] = torch.bmm(dscore.mT, q[:, at]).baddbmm_(v[:, at] * decay.to_right, state.mT)
            dv[:, at] = torch.bmm(score.mT, do[:, at]).baddbmm_(k[:, at] * decay.to_right, state)
            state = torch.baddbmm(state * decay.whole, q[:, at].mT, do_left)
        return o, dq, dk, dv

    return run


def lightning_all_chunks(case: dict[str, Any], block: int) -> Pass:
    """All blocks of all heads in each product; only the states are carried one after the other."""
    count = TOKENS // block
    decay = decay_tables(case["slopes"], block)
    cut = Decay(*(table.repeat_interleave(count, dim=0) for table in decay))  # [H·count, ...]
    q, k, v, do = (case[name].view(HEADS * count, block, DIM) for name in ("q", "k", "v", "do"))

    def carried(local: Any, order: Sequence[int]) -> Any:
        """What enters each block, in this order, of the blocks' own states."""
        local = local.view(HEADS, count, DIM, DIM)
        entering = torch.empty_like(local)
        state = local.new_zeros(HEADS, DIM, DIM)
        for at in order:
            entering[:, at] = state
            state = torch.addcmul(local[:, at], state, decay.whole)
        return entering.view(-1, DIM, DIM)

    def run() -> Sequence[Any]:
        scores = torch.bmm(q, k.mT).mul_(cut.mask)
        k_right, do_left = k * cut.to_right, do * cut.from_left
        states = carried(torch.bmm(k_right.mT, v), range(count))
        o = torch.bmm(scores, v).baddbmm_(q * cut.from_left, states)
        dstates = carried(torch.bmm(q.mT, do_left), range(count - 1, -1, -1))
        dscores = torch.bmm(do, v.mT).mul_(cut.mask)
        dq = torch.bmm(dscores, k).baddbmm_(do_left, states.mT)
        dk = torch.bmm(dscores.mT, q).baddbmm_(v * cut.to_right, dstates.mT)
        dv = torch.bmm(scores.mT, do).baddbmm_(k_right, dstates)
        return tuple(x.view(HEADS, TOKENS, DIM) for x in (o, dq, dk, dv))

    return run


# --- softmax attention in PyTorch


def through_autograd(case: dict[str, Any], attention: Callable[[Any, Any, Any], Any]) -> Pass:
    def run() -> Sequence[Any]:
        q, k, v = (case[name].detach().requires_grad_() for name in ("q", "k", "v"))
        o = attention(q, k, v)
        o.backward(case["do"])
        return o.detach(), q.grad, k.grad, v.grad

    return run


def softmax_peers(case: dict[str, Any]) -> list[Peer]:
    hidden = torch.full((1, TOKENS, TOKENS), float("-inf")).triu(1)

    def plain(q: Any, k: Any, v: Any) -> Any:
        return torch.bmm(torch.softmax(torch.baddbmm(hidden, q, k.mT, alpha=DIM**-0.5), dim=-1), v)

    peers = [Peer("matmul-softmax-matmul", through_autograd(case, plain))]
    functional = torch.nn.functional
    if hasattr(functional, "scaled_dot_product_attention"):  # PyTorch >= 2.0
        sdpa = lambda *qkv: functional.scaled_dot_product_attention(*(x[None] for x in qkv), is_causal=True)[
            0
        ]
        peers.append(Peer("scaled_dot_product_attention", through_autograd(case, sdpa)))
    elif hasattr(functional, "_scaled_dot_product_attention"):  # 1.13: its forerunner, which returns a pair
        early = lambda q, k, v: functional._scaled_dot_product_attention(q, k, v, is_causal=True)[0]
        peers.append(Peer("_scaled_dot_product_attention", through_autograd(case, early)))
    return peers


def lightning_peers(case: dict[str, Any], blocks: Sequence[int]) -> list[Peer]:
    orders = (("chunk by chunk", lightning_chunk_by_chunk), ("all chunks at once", lightning_all_chunks))
    return [Peer(f"block {block}, {name}", make(case, block)) for block in blocks for name, make in orders]


# --- comparing and timing


def check_same(case: dict[str, Any], peers: Sequence[Peer]) -> None:
    """Ends the program if a peer's outputs are not ringside's."""
    for peer in peers:
        for name, theirs in zip(OUTPUTS, peer.run()):
            ours = case[name].double()
            difference = float((theirs.double() - ours).norm() / ours.norm())
            if not difference <= SAME:
                print(f"{peer.name}: {name} is {difference:.2g} from ringside's (relative), limit {SAME:.0e}")
                sys.exit(1)


def time_theirs(run: Pass, repeat: int) -> float:
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def compare(operator: str, peers: Sequence[Peer], arguments: argparse.Namespace) -> None:
    """Rounds of ringside and every peer in turn; prints a line a peer, and the quickest peer's ratio."""
    ours, theirs = [], {peer.name: [] for peer in peers}
    for _ in range(arguments.rounds):
        ours.append(time_ours(arguments.program, operator, arguments.repeat))
        for peer in peers:
            theirs[peer.name].append(time_theirs(peer.run, arguments.repeat))
    print(
        f"\n{operator} attention, forward and backward: seconds, median of {arguments.rounds} rounds of "
        f"{arguments.repeat}; ratio to ringside: median (least-most)"
    )
    print(f"  {'ringside ' + VARIANT[operator]:<34} {statistics.median(ours):8.4f}")
    for name, seconds in theirs.items():
        ratios = [their / our for their, our in zip(seconds, ours)]
        print(
            f"  {name:<34} {statistics.median(seconds):8.4f}  {statistics.median(ratios):5.2f}  "
            f"({min(ratios):.2f}-{max(ratios):.2f})"
        )
    best = min(theirs, key=lambda name: statistics.median(theirs[name]))
    ratio = statistics.median(their / our for their, our in zip(theirs[best], ours))
    print(f"  ringside is {ratio:.2f} times as quick as the quickest PyTorch here ({best})")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--program",
        type=pathlib.Path,
        default=ROOT / "build/release/ringside",
        help="the built ringside (default: %(default)s)",
    )
    parser.add_argument(
        "--operator", choices=tuple(VARIANT), action="append", help="only this one (default: both)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="alternations (default: %(default)s)")
    parser.add_argument(
        "--repeat", type=int, default=5, help="iterations a round and side (default: %(default)s)"
    )
    parser.add_argument(
        "--blocks",
        type=int,
        nargs="+",
        default=[64, 128, 256],
        help=f"block sizes of chunked PyTorch; they divide {TOKENS} (default: 64 128 256)",
    )
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.repeat < 1:
        parser.error("--rounds and --repeat must be at least 1")
    if bad := [block for block in arguments.blocks if block < 1 or TOKENS % block != 0]:
        parser.error(f"--blocks {bad[0]}: does not divide {TOKENS}")
    if not os.access(arguments.program, os.X_OK):
        parser.error(f"--program {arguments.program}: no such program; build it with: bash ci/sweep.sh")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(1)
    flushes = torch.set_flush_denormal(True)
    version = subprocess.run(
        [arguments.program, "--version"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    print(
        f"{version.splitlines()[0]}\nPyTorch {torch.__version__}, {torch.get_num_threads()} thread, "
        f"denormals {'flushed' if flushes else 'kept'}; Python {platform.python_version()}\n"
        f"BLAS: {blas_in_use()}\n"
        f"CPU: {cpu_facts().get('model name', platform.processor())}; "
        f"OPENBLAS_CORETYPE={os.environ.get('OPENBLAS_CORETYPE', '(not set)')}\n"
        f"fp32, batch 1, {HEADS} heads, {TOKENS} tokens, head and value dim {DIM}, one thread each",
        flush=True,
    )
    for operator in arguments.operator or VARIANT:
        case = dumped_case(arguments.program, operator)
        is_lightning = operator == "lightning"
        peers = lightning_peers(case, arguments.blocks) if is_lightning else softmax_peers(case)
        check_same(case, peers)
        compare(operator, peers, arguments)


if __name__ == "__main__":
    main()
