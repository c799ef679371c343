#!/usr/bin/env bash
# ci/torch_check.sh [--no-install]: the verdicts on baselines/peers/torch_check.py's three implementations in PyTorch, on the
# CPU, 4 ranks under mpirun: sdpa and ring are right; ring_wrong is wrong, on other ranks than the first. Faults that only
# torch_check itself can see, and README's own examples besides. Left out, with a message, where the Python has no PyTorch.
# PYTHON=PATH: another than /usr/bin/python3 (Debian: python3-torch).
set -euo pipefail
source "$(dirname "$0")/common.sh"
parse_arguments "$@"
no_more_arguments
python=${PYTHON:-/usr/bin/python3}
install_packages --torch
if ! "$python" -c 'import numpy, torch.distributed as d; assert d.is_gloo_available()' 2>/dev/null; then
  echo "[ci] torch_check: LEFT OUT, $python has no PyTorch with gloo here (Debian: python3-torch)" >&2
  exit 0
fi
build_preset release ringside

# As everywhere in the tests: as root, more ranks than cores, on the loopback interface.
set -a; source ci/mpi.env; set +a
export GLOO_SOCKET_IFNAME=lo
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR=$folder  # for the tensors of red runs

# expect STATUS TEXT COMMAND…: the command ends with that status and says what the extended regular expression TEXT
# finds; if not, all that it said is shown.
expect() {
  local status=0 wanted=$1 text=$2
  shift 2
  "$@" &>"$folder/log" || status=$?
  if ((status == wanted)) && grep -Eq -- "$text" "$folder/log"; then return; fi
  cat "$folder/log"
  echo "$*: status $status, expected $wanted and '$text'" >&2
  return 1
}
green='^1 cases: 1 passed, 0 failed, 0 mistrusted, 0 skipped$'
wrong='^ +o rank [1-3] .*\| [1-9][0-9]* of [0-9]+ wrong$'
example=(mpirun -n 4 "$python" baselines/peers/torch_check.py)
stage "torch_check sdpa" expect 0 "$green" "${example[@]}" sdpa
stage "torch_check ring" expect 0 "$green" "${example[@]}" ring --case seq=96,heads=2,head_dim=16,dtype=bf16
stage "torch_check ring_wrong" expect 1 "$wrong" "${example[@]}" ring_wrong
stage "torch_check ring_wrong's tensors, again" expect 1 "$wrong" bash -c "$(sed -n 's/^  repeat: //p' "$folder/log")"
stage "torch_check ring_wrong, rank 0" expect 1 '^ +o rank 0 .*\| 0 of [0-9]+ wrong$' "${example[@]}" ring_wrong

# Wrong by what an earlier call left or by luck, or never back.
cat >"$folder/faults.py" <<'PYTHON'
import ctypes
import signal
import time
import torch
import torch.distributed as dist
from torch_check import check, ring

calls, masks = [], {}

def kept_by_size(q, k, v):
    scale = masks.setdefault(q.shape[0] * q.shape[2], float(q.shape[0]))  # another batch may have as many tokens
    return ring(q, k, v) * (q.shape[0] / scale)

def counts_calls(q, k, v):
    calls.append(1)
    return ring(q, k, v) * (1 + (len(calls) // 3) * 2.0 ** -23)

def reads_unwritten(q, k, v):
    return ring(q, k, v) + 0 * torch.empty(1)

def hangs(q, k, v):
    if dist.get_rank() == 2:
        time.sleep(3600)
    return ring(q, k, v)

def stuck(q, k, v):
    if dist.get_rank() == 2:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])  # it would wake it
        ctypes.CDLL(None).sleep(3600)
    return ring(q, k, v)

def raises(q, k, v):
    if dist.get_rank() == 1:
        raise ValueError(f"no {q.shape[2]} tokens")
    return q + 0 * k + 0 * v

if __name__ == "__main__":
    signal.signal(signal.SIGALRM, print)  # an alarm of the caller's, which is there afterwards
    signal.setitimer(signal.ITIMER_REAL, 3600)
    try:
        check(raises, "seq=64,head_dim=8")
    except (ValueError, RuntimeError) as error:
        print(f"rank {dist.get_rank()} caught: {error}", flush=True)
    check(ring, "seq=64,head_dim=8")
    assert signal.getsignal(signal.SIGALRM) is print and signal.getitimer(signal.ITIMER_REAL)[0] > 3000
PYTHON
fault() { expect "$1" "$2" env PYTHONPATH="$folder:baselines/peers" "${example[@]}" "faults:$3" --deadline 5; }
stage "torch_check of what is kept by size" fault 1 '^FAIL .*/between$' kept_by_size
stage "torch_check of what counts its calls" \
  fault 1 '^torch_check.py: other bits when run again .*: o, dq, dk, dv of rank 0;' counts_calls
stage "torch_check of what hangs" fault 2 'attention has not come back after 5 s, the deadline$' hangs
stage "torch_check of what is stuck outside Python" fault 2 ', line [0-9]+ in stuck$' stuck
stage "torch_check of no case" \
  expect 2 "case '': '' is not column=value$" "$python" baselines/peers/torch_check.py ring --case ""
stage "torch_check of what raises" expect 0 '^rank 3 caught: rank 1 raised ValueError' env PYTHONPATH=baselines/peers \
  mpirun -n 4 "$python" "$folder/faults.py"
if "$python" -c 'from torch.utils import deterministic' 2>/dev/null; then
  stage "torch_check of what reads unwritten memory" fault 1 'by their NaN/inf pattern' reads_unwritten
else
  echo "[ci] torch_check of what reads unwritten memory: LEFT OUT, this PyTorch does not fill it (2.2 does)" >&2
fi

# README's mine.py, on a shorter sequence, with an attention that gathers all tokens: positions of a zigzag of 4 ranks.
awk '/^# mine\.py/ { on = 1 } /^```/ { on = 0 } on' README.md | sed 's/seq=[0-9]*/seq=96/' >"$folder/mine.py"
if [[ -s $folder/mine.py ]]; then
  cat >"$folder/my_attention.py" <<'PYTHON'
import torch
import torch.distributed as dist
from torch.distributed.nn.functional import all_gather

def attention(q, k, v):
    chunks = torch.arange(q.shape[2] * dist.get_world_size()).chunk(2 * dist.get_world_size())
    of_rank = [torch.cat([chunks[r], chunks[-1 - r]]) for r in range(dist.get_world_size())]
    k, v = (torch.cat(all_gather(x), dim=2).repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    seen = torch.cat(of_rank)[None, :] <= of_rank[dist.get_rank()][:, None]
    logits = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).masked_fill(~seen, float("-inf"))
    return logits.softmax(dim=3) @ v
PYTHON
  stage "README's mine.py" expect 0 "$green" mpirun -n 4 "$python" "$folder/mine.py"
else
  echo "[ci] README's mine.py: LEFT OUT, README.md has no block that begins with '# mine.py'" >&2
fi
