"""Judges any attention in PyTorch, called as attention(q, k, v) on each rank.

    mpirun -n 4 /usr/bin/python3 torch_check.py ring           # or torchrun --nproc_per_node 4 torch_check.py ring (not
                                                               # with Debian 12's PyTorch: its torchrun does not start)
    mpirun -n 4 /usr/bin/python3 torch_check.py my_module:my_attention --case seq=4096,heads=8,head_dim=64,dtype=bf16

or from your own program, or a test of pytest, in every rank that mpirun or torchrun started:

    from torch_check import check
    check(my_attention, "seq=4096,heads=8,head_dim=64,dtype=bf16")

q: [b, h, c, d], k: [b, h_kv, c, d], v: [b, h_kv, c, e], o: [b, h, c, e] hold the rank's own tokens, in the order that
--layout gives them (b,n,h,d with --axes bnhd, and so on). `ringside make-inputs` writes them, every rank runs forward and
backward and saves o, dq, dk, dv, and `ringside check` judges them all together on rank 0. If that is right, another case
is run and judged, and the first is run again, which must give the same bits: a call may leave nothing behind. In both runs
of the first, what torch.empty() gives is NaN (PyTorch 2.2 or newer; an older one is told) and algorithms are deterministic,
to which PyTorch ties that; the other case runs in your own mode. Tensors of a red run are kept.

Shown on three implementations of causal softmax attention on contiguous tokens:
  sdpa         gathers k and v (differentiably; gloo does it in fp32 and fp16 only) and calls PyTorch's own
               scaled_dot_product_attention
  ring         passes k and v round, merges blocks by their log-sum-exp; backward passes dk and dv round with them
  ring_wrong   the same with the mask off by one on every rank but the first: what a mean on rank 0 does not show

Needs PyTorch with gloo (Debian: python3-torch, for /usr/bin/python3), NumPy and the built program. Exit status: that of
`ringside check` (0 right, 1 wrong, 2 something is missing or does not fit, or raised), on every rank. An exception on one
rank is one on all, with its traceback, and so is a rank that is still in Python at the deadline. One that is stuck outside
Python cannot raise: after twice the deadline and 10 s its process ends, with tracebacks and status 2 (10 s later, with
status 1, if it holds Python's lock), and mpirun or torchrun ends the others.
"""

import argparse
import atexit
import contextlib
import datetime
import faulthandler
import importlib
import math
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from typing import Callable, Iterator

try:
    import numpy as np
    import torch
    import torch.distributed as dist
except ImportError as error:
    print(f"torch_check.py: {error}; Debian's modules belong to /usr/bin/python3", file=sys.stderr)
    sys.exit(2)
try:
    from torch.utils import deterministic  # 2.2 and newer: fills what torch.empty() gives
except ImportError:
    deterministic = None

ROOT = pathlib.Path(__file__).resolve().parents[2]
Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
Cells = dict[str, str]  # columns of a case
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Ranks:
    """The ranks that torchrun or mpirun started, or one alone without either. Their messages here have a group of their
    own: what attention left unanswered does not get in their way, and they wait for the judge as long as it takes."""

    def __init__(self, seconds: float):
        """seconds: after which an operation of attention's that waits for another rank raises."""
        if not dist.is_initialized():
            env = os.environ
            env.setdefault("RANK", env.get("OMPI_COMM_WORLD_RANK", env.get("PMI_RANK", "0")))
            env.setdefault("WORLD_SIZE", env.get("OMPI_COMM_WORLD_SIZE", env.get("PMI_SIZE", "1")))
            env.setdefault("MASTER_ADDR", "127.0.0.1")
            env.setdefault("MASTER_PORT", "29533")
            dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=seconds))
            atexit.register(dist.destroy_process_group)  # left to Python's end, its threads abort a run now and then
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.group = dist.new_group(backend="gloo", timeout=datetime.timedelta(days=1))

    def all(self, value: object) -> list:
        """Every rank's value, on all ranks."""
        values = [None] * self.size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def say(self, text: str) -> None:
        if self.rank == 0:
            print(f"torch_check.py: {text}", file=sys.stderr, flush=True)

    def on_rank_0(self, command: list) -> int:
        """The command's exit status, on all ranks. (Under mpirun it shall not take itself for a rank.)"""
        status = 0
        if self.rank == 0:
            env = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PMI_", "SLURM_"))}
            if "OMPI_COMM_WORLD_RANK" in os.environ:
                env["TERM"] = "dumb"  # Open MPI gives a rank a terminal, whatever its own output is
            try:
                status = subprocess.run([str(word) for word in command], env=env).returncode
            except OSError as error:
                self.say(f"{command[0]}: {error.strerror}")
                status = 2
        return self.all(status)[0]


def in_time(call: Callable[[], torch.Tensor], seconds: float) -> torch.Tensor:
    """What call() returns; TimeoutError if it takes longer; stuck outside Python it ends the process. pytest-timeout's alarm
    waits, pytest's faulthandler_timeout is lost. (An alarm in a context manager's __exit__ would skip what disarms.)"""
    running, began, left, interval = True, time.monotonic(), 0.0, 0.0

    def late(*_: object) -> None:
        if running:
            raise TimeoutError(f"attention has not come back after {seconds:g} s, the deadline")

    last = threading.Timer(2 * seconds + 10, lambda: (faulthandler.dump_traceback(sys.__stderr__), os._exit(2)))
    last.daemon = True
    last.start()
    faulthandler.dump_traceback_later(2 * seconds + 20, exit=True, file=sys.__stderr__)  # without Python's lock
    is_main = threading.current_thread() is threading.main_thread()  # no other can handle signals
    handler = signal.signal(signal.SIGALRM, late) if is_main else None
    try:
        try:
            left, interval = signal.setitimer(signal.ITIMER_REAL, seconds) if is_main else (0.0, 0.0)
            return call()
        finally:
            running = False  # late() raises up to here
    finally:
        last.cancel()
        faulthandler.cancel_dump_traceback_later()
        if is_main:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
            if left > 0:  # what is overdue comes in a second: first the ranks hear of each other
                signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1), interval)


@contextlib.contextmanager
def filled_memory() -> Iterator[None]:
    """torch.empty() is full of NaN, if it can be; algorithms are deterministic then, which is what PyTorch ties it to."""
    if deterministic is None:
        yield
        return
    mode, fill = torch.get_deterministic_debug_mode(), deterministic.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("warn")
    deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        deterministic.fill_uninitialized_memory = fill
        torch.set_deterministic_debug_mode(mode)


def run(ranks: Ranks, attention: Attention, cells: Cells, folder: pathlib.Path, device: str,
        seconds: float, filled: bool) -> dict[str, np.ndarray]:
    """This rank's results on its inputs in `folder`, where they are saved. Where one rank raises, all do."""
    dtype = DTYPES[cells.get("dtype", "fp32")]
    q, k, v, do = (torch.from_numpy(np.load(folder / f"{name}.rank{ranks.rank}.npy")).to(device, dtype)
                   for name in ("q", "k", "v", "do"))
    for x in (q, k, v):
        x.requires_grad_()

    def both_passes() -> torch.Tensor:
        o = attention(q, k, v)
        o.backward(do)
        return o

    results, raised = {}, None
    try:
        with filled_memory() if filled else contextlib.nullcontext():
            o = in_time(both_passes, seconds)
        results = {"o": o, "dq": q.grad, "dk": k.grad, "dv": v.grad}
        if missing := [name for name, x in results.items() if x is None]:
            raise ValueError(f"no gradient: {', '.join(missing)}")
        results = {name: x.detach().float().cpu().numpy() for name, x in results.items()}
        for name, x in results.items():
            np.save(folder / f"{name}.rank{ranks.rank}.npy", x)
    except BaseException as error:  # the others wait for a word of this rank
        raised = error
        print(f"torch_check.py: rank {ranks.rank}: {traceback.format_exc()}", file=sys.stderr, flush=True)
    texts = ranks.all(raised and f"rank {ranks.rank} raised {raised!r}")
    if raised:
        raise raised
    if any(texts):
        raise RuntimeError("; ".join(filter(None, texts)))
    return results


def cells_of(text: str) -> Cells:
    if bad := [cell for cell in text.split(",") if "=" not in cell]:
        raise ValueError(f"case {text!r}: {bad[0]!r} is not column=value")
    return dict(cell.split("=", 1) for cell in text.split(","))


def text_of(cells: Cells) -> str:
    return ",".join(f"{column}={value}" for column, value in cells.items())


def other_case(cells: Cells, sp: int) -> Cells:
    """A case of another shape in which the same function is right: as many tokens in half the batch entries (what is kept
    by the number of tokens is found), or half or twice as many in each. Documents and padding are the function's own; with
    them only batch or seed are others."""
    batch, seq = int(cells.get("batch", 1)), int(cells["seq"])
    packed = not {"cu_seqlens", "padding"}.isdisjoint(cells)
    if batch % (2 * int(cells.get("dp", 1))) == 0:
        return cells | {"batch": str(batch // 2)} | ({} if packed else {"seq": str(2 * seq)})
    if packed:
        return cells | {"seed": str(int(cells.get("seed", 1)) + 1)}
    whole_blocks = seq % (2 * sp * 2 * 64) == 0  # half as many are still blocks of 64 in two chunks a rank
    return cells | {"seq": str(seq // 2 if whole_blocks else 2 * seq)}


def judge(ranks: Ranks, attention: Attention, first: Cells, folder: pathlib.Path, *, between: str, layout: str, axes: str,
          device: str, seconds: float, repeatable: bool, ringside: str | os.PathLike) -> int:
    """What check() does, with tensors in `folder`."""
    sp = ranks.size // int(first.get("dp", 1))
    results = []
    for name in ("", "between", "again"):
        at, cells = folder / name, first
        if name == "between":
            cells = first | cells_of(between) if between else other_case(first, sp)
            ranks.say(f"then another case, {text_of(cells)} (between= sets it), and the first again")
        status = ranks.on_rank_0([ringside, "make-inputs", f"{text_of(cells)},sp={sp}", "-o", at, "--by-rank",
                                  "--layout", layout, "--axes", axes])
        if status != 0:
            return status
        results.append(run(ranks, attention, cells, at, device, seconds, name != "between"))
        if name != "again" or not repeatable:
            status = ranks.on_rank_0([ringside, "check", at])
        if status != 0:
            return status
    if not repeatable:
        return 0
    changed = [name for name, x in results[0].items() if x.tobytes() != results[2][name].tobytes()]
    told = [f"{', '.join(names)} of rank {rank}" for rank, names in enumerate(ranks.all(changed)) if names]
    if not told:
        return 0
    ranks.say(f"other bits when run again after another case: {'; '.join(told)}. A call leaves something behind, or no two "
              "runs are alike (if they may differ: repeatable=False, --not-repeatable)")
    command = [str(word) for word in (ringside, "diff", folder, folder / "again")]
    ranks.on_rank_0(command)
    ranks.say(f"repeat: {shlex.join(command)}")
    return 1


def check(attention: Attention, case: str, *, between: str = "", layout: str = "contiguous", axes: str = "bhnd",
          device: str = "cpu", directory: str | None = None, seconds: float = 120, repeatable: bool = True,
          ringside: str | os.PathLike = ROOT / "build/release/ringside") -> int:
    """Runs attention on every rank on the inputs of `case` (column=value,…), of another case and of `case` again, and returns
    the exit status of the first verdict that is not right. `between`: columns of the other case that differ; else
    other_case(). `directory`: for tensors, which are kept there; else they are kept if something is wrong. `seconds`: the
    deadline of forward and backward. Not `repeatable`: the second run may give other bits, as atomic additions do, and is
    judged instead."""
    ranks = Ranks(seconds)
    folder = pathlib.Path(ranks.all(directory or (tempfile.mkdtemp(prefix="torch_check_") if ranks.rank == 0 else ""))[0])
    if deterministic is None:
        ranks.say(f"PyTorch {torch.__version__} does not fill uninitialised memory (2.2 does): it may be right by luck")
    status = 2
    try:
        status = judge(ranks, attention, cells_of(case), folder, between=between, layout=layout, axes=axes, device=device,
                       seconds=seconds, repeatable=repeatable, ringside=ringside)
    finally:
        if ranks.rank == 0 and not directory and status != 1:
            shutil.rmtree(folder)
        dist.destroy_process_group(ranks.group)
    if status == 1:
        ranks.say(f"tensors are in {folder}")
    return status


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
    parser.add_argument("--case", default="seq=256,heads=4,kv_heads=2,head_dim=32,batch=2",
                        help="columns of a case file; default: %(default)s")
    parser.add_argument("--between", default="", metavar="CASE", help="columns in which the case between the two runs "
                        "of the first differs; default: one of another shape")
    parser.add_argument("--layout", default="contiguous", choices=("contiguous", "zigzag", "striped"))
    parser.add_argument("--axes", default="bhnd", choices=("bhnd", "bnhd", "sbhd", "thd"))
    parser.add_argument("--device", default="cpu", help="for example cuda; default: cpu")
    parser.add_argument("--deadline", type=float, default=120, metavar="SECONDS",
                        help="of forward and backward; default: %(default)s")
    parser.add_argument("--not-repeatable", action="store_true", help="two runs may give other bits, as atomic additions do")
    parser.add_argument("--keep", metavar="DIR", help="keep the tensors in DIR; default: those of a red run are kept")
    parser.add_argument("--ringside", default=ROOT / "build/release/ringside", help="the program; default: %(default)s")
    options = parser.parse_args()
    module, _, name = options.attention.rpartition(":")
    sys.path.insert(0, os.getcwd())
    attention = getattr(importlib.import_module(module), name) if module else globals().get(name)
    if attention is None:
        parser.error(f"no implementation {name}: sdpa, ring, ring_wrong or module:function")
    torch.set_num_threads(1)
    try:
        return check(attention, options.case, between=options.between, layout=options.layout, axes=options.axes,
                     device=options.device, directory=options.keep, seconds=options.deadline,
                     repeatable=not options.not_repeatable, ringside=options.ringside)
    except Exception as error:
        print(f"torch_check.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
