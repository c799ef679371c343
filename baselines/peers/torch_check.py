#!/usr/bin/env python3
"""Ringside's verdict on any attention in PyTorch that is called as attention(q, k, v) -> o on each rank.

    mpirun -n 4 /usr/bin/python3 torch_check.py ring           # or torchrun --nproc_per_node 4 torch_check.py ring (not
                                                               # with Debian 12's PyTorch: its torchrun does not start)
    mpirun -n 4 /usr/bin/python3 torch_check.py my_module:my_attention --case seq=4096,heads=8,head_dim=64,dtype=bf16

or from your own program, in every rank that mpirun or torchrun started:

    from torch_check import check
    check(my_attention, "seq=4096,heads=8,head_dim=64,dtype=bf16")

q: [b, h, c, d], k: [b, h_kv, c, d], v: [b, h_kv, c, e], o: [b, h, c, e] hold the rank's own tokens, in the order that
--layout gives them (b,n,h,d with --axes bnhd). `ringside make-inputs` writes them, every rank runs forward and backward
and saves o, dq, dk, dv, and `ringside check` judges them all together on rank 0.

Shown on three implementations of causal softmax attention on contiguous tokens:
  sdpa         gathers k and v (differentiably; gloo does it in fp32 and fp16 only) and calls PyTorch's own
               scaled_dot_product_attention
  ring         passes k and v round, merges blocks by their log-sum-exp; backward passes dk and dv round with them
  ring_wrong   the same with the mask off by one on every rank but the first: what a mean on rank 0 does not show

Needs PyTorch with gloo (Debian: python3-torch, for /usr/bin/python3), NumPy and the built program. Exit status: that of
`ringside check` (0 right, 1 wrong, 2 something is missing or does not fit), on every rank.
"""

import argparse
import atexit
import importlib
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback
from typing import Callable

try:
    import numpy as np
    import torch
    import torch.distributed as dist
except ImportError as error:
    print(f"torch_check.py: {error}; Debian's modules belong to /usr/bin/python3", file=sys.stderr)
    sys.exit(2)

ROOT = pathlib.Path(__file__).resolve().parents[2]
Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def start_ranks() -> None:
    """Joins the ranks that torchrun or mpirun started; alone without either."""
    if dist.is_initialized():
        return
    env = os.environ
    env.setdefault("RANK", env.get("OMPI_COMM_WORLD_RANK", env.get("PMI_RANK", "0")))
    env.setdefault("WORLD_SIZE", env.get("OMPI_COMM_WORLD_SIZE", env.get("PMI_SIZE", "1")))
    env.setdefault("MASTER_ADDR", "127.0.0.1")
    env.setdefault("MASTER_PORT", "29533")
    dist.init_process_group("gloo")
    atexit.register(dist.destroy_process_group)  # left to Python's end, its threads abort a run now and then


def agreed(value: object) -> object:
    """Rank 0's value, on all ranks."""
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def on_rank_0(command: list[str]) -> int:
    """The command's exit status, on all ranks. (Under mpirun it shall not take itself for a rank.)"""
    status = 0
    if dist.get_rank() == 0:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PMI_", "SLURM_"))}
        if "OMPI_COMM_WORLD_RANK" in os.environ:
            env["TERM"] = "dumb"  # Open MPI gives a rank a terminal, whatever its own output is
        try:
            status = subprocess.run(command, env=env).returncode
        except OSError as error:
            print(f"torch_check.py: {command[0]}: {error.strerror}", file=sys.stderr)
            status = 2
    return int(agreed(status))


def check(attention: Attention, case: str, *, layout: str = "contiguous", axes: str = "bhnd",
          device: str = "cpu", directory: str | None = None,
          ringside: str | os.PathLike = ROOT / "build/release/ringside") -> int:
    """Runs attention on every rank on the inputs of `case` (column=value,…) and returns the verdict's exit status."""
    start_ranks()
    rank, size = dist.get_rank(), dist.get_world_size()
    kept = directory is not None
    temporary = None if kept or rank != 0 else tempfile.TemporaryDirectory()
    folder = pathlib.Path(str(agreed(directory if kept else temporary.name if temporary else None)))
    cells = dict(cell.split("=", 1) for cell in case.split(","))
    status = on_rank_0([str(ringside), "make-inputs", f"{case},sp={size // int(cells.get('dp', 1))}", "-o", str(folder), "--by-rank",
                        "--layout", layout, "--axes", axes])
    if status != 0:
        return status

    dtype = DTYPES[cells.get("dtype", "fp32")]
    q, k, v, do = (torch.from_numpy(np.load(folder / f"{name}.rank{rank}.npy")).to(device, dtype)
                   for name in ("q", "k", "v", "do"))
    for x in (q, k, v):
        x.requires_grad_()
    failed = None
    try:
        o = attention(q, k, v)
        o.backward(do)
        results = {"o": o, "dq": q.grad, "dk": k.grad, "dv": v.grad}
        missing = [name for name, x in results.items() if x is None]
        failed = f"no gradient: {missing}" if missing else None
    except Exception:
        failed = traceback.format_exc()
    if failed:
        print(f"torch_check.py: rank {rank}: {failed}", file=sys.stderr)
        os._exit(2)  # the others may wait for this one: mpirun and torchrun end them
    for name, x in results.items():
        np.save(folder / f"{name}.rank{rank}.npy", x.detach().float().cpu().numpy())
    dist.barrier()
    return on_rank_0([str(ringside), "check", str(folder)])


# --- three implementations

def sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Own queries against all keys, which are gathered; gradients of k and v come back to their ranks."""
    from torch.distributed.nn.functional import all_gather

    rank, own = dist.get_rank(), q.shape[2]
    groups = q.shape[1] // k.shape[1]
    k, v = (torch.cat(all_gather(x), dim=2).repeat_interleave(groups, dim=1) for x in (k, v))
    position = torch.arange(rank * own, (rank + 1) * own)[:, None]
    seen = torch.arange(k.shape[2])[None, :] <= position
    functional = torch.nn.functional
    if hasattr(functional, "scaled_dot_product_attention"):
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    return functional._scaled_dot_product_attention(q, k, v, attn_mask=seen)[0]  # PyTorch 1.13


def pass_on(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """What the left neighbour has, for what this rank has; all ranks hold equally many tokens."""
    rank, size = dist.get_rank(), dist.get_world_size()
    arriving = [torch.empty_like(x) for x in tensors]
    waiting = [dist.isend(x.contiguous(), (rank + 1) % size, tag=i) for i, x in enumerate(tensors)]
    waiting += [dist.irecv(x, (rank - 1) % size, tag=i) for i, x in enumerate(arriving)]
    for work in waiting:
        work.wait()
    return arriving


class Ring(torch.autograd.Function):
    """Causal ring attention, contiguous tokens, sums in fp32; `slack`: keys that each query sees beyond its own."""

    @staticmethod
    def logits(q, k, owner, slack):
        """Of the own queries with the keys that rank `owner` holds: [b, h, c, c], -inf where masked."""
        own = q.shape[2]
        row = dist.get_rank() * own + torch.arange(own)[:, None]
        column = owner * own + torch.arange(own)[None, :]
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        return (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).masked_fill(column > row + slack, -math.inf)

    @staticmethod
    def forward(ctx, q, k, v, slack):
        rank, size = dist.get_rank(), dist.get_world_size()
        groups = q.shape[1] // k.shape[1]
        qf, kv = q.float(), [k.float(), v.float()]
        o = torch.zeros(*q.shape[:3], v.shape[3])
        lse = torch.full(q.shape[:3] + (1,), -math.inf)
        for step in range(size):
            logits = Ring.logits(qf, kv[0], (rank - step) % size, slack)
            block_lse = logits.logsumexp(dim=3, keepdim=True)
            weights = (logits - block_lse.nan_to_num(neginf=0)).exp()
            merged = torch.logaddexp(lse, block_lse)
            o = o * (lse - merged).exp() + weights @ kv[1].repeat_interleave(groups, dim=1) * (block_lse - merged).exp()
            lse = merged
            if step + 1 < size:
                kv = pass_on(kv)
        ctx.save_for_backward(q, k, v, o.to(q.dtype), lse)
        ctx.slack = slack
        return o.to(q.dtype)

    @staticmethod
    def backward(ctx, do):
        q, k, v, o, lse = ctx.saved_tensors
        rank, size = dist.get_rank(), dist.get_world_size()
        b, kv_heads, own, d = k.shape
        groups = q.shape[1] // kv_heads
        of_group = lambda x: x.view(b, kv_heads, groups, own, -1).sum(dim=2)
        qf, dof, kv = q.float(), do.float(), [k.float(), v.float()]
        delta = (dof * o.float()).sum(dim=3, keepdim=True)
        dq = torch.zeros_like(qf)
        grad = [torch.zeros_like(x) for x in kv]
        for step in range(size):
            weights = (Ring.logits(qf, kv[0], (rank - step) % size, ctx.slack) - lse).exp()
            dlogits = weights * (dof @ kv[1].repeat_interleave(groups, dim=1).transpose(2, 3) - delta) / math.sqrt(d)
            dq += dlogits @ kv[0].repeat_interleave(groups, dim=1)
            grad[0] = grad[0] + of_group(dlogits.transpose(2, 3) @ qf)
            grad[1] = grad[1] + of_group(weights.transpose(2, 3) @ dof)
            if step + 1 < size:
                kv = pass_on(kv)
            if size > 1:
                grad = pass_on(grad)  # after the last hop they are at home
        return dq.to(q.dtype), grad[0].to(q.dtype), grad[1].to(q.dtype), None


def ring(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return Ring.apply(q, k, v, 0)


def ring_wrong(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return Ring.apply(q, k, v, 1 if dist.get_rank() > 0 else 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attention", help="sdpa, ring, ring_wrong, or module:function of your own")
    parser.add_argument("--case", default="seq=256,heads=4,kv_heads=2,head_dim=32,batch=2", help="columns of a case file; default: %(default)s")
    parser.add_argument("--layout", default="contiguous", choices=("contiguous", "zigzag", "striped"))
    parser.add_argument("--axes", default="bhnd", choices=("bhnd", "bnhd"))
    parser.add_argument("--device", default="cpu", help="for example cuda; default: cpu")
    parser.add_argument("--keep", metavar="DIR", help="keep the tensors in DIR")
    parser.add_argument("--ringside", default=ROOT / "build/release/ringside", help="the program; default: %(default)s")
    options = parser.parse_args()
    module, _, name = options.attention.rpartition(":")
    sys.path.insert(0, os.getcwd())
    attention = getattr(importlib.import_module(module), name) if module else globals().get(name)
    if attention is None:
        parser.error(f"no implementation {name}: sdpa, ring, ring_wrong or module:function")
    torch.set_num_threads(1)
    return check(attention, options.case, layout=options.layout, axes=options.axes, device=options.device,
                 directory=options.keep, ringside=options.ringside)


if __name__ == "__main__":
    sys.exit(main())
