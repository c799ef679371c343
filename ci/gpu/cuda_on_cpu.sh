#!/usr/bin/env bash
# ci/gpu/cuda_on_cpu.sh [--long] [--seed N]: the compiled CUDA code, run and judged on a CPU. Builds build/release as
# ci/test.sh --strict does and runs it on stand-ins for CUDA's runtime library, cuBLAS and NCCL, which interpret the
# program's PTX and report races, reads of memory never written and accesses out of bounds: the GPU tests, sweeps, two MPI
# processes, two NCCL processes, some planted bugs. 8 minutes at most on two cores; --long leaves less out. The order of
# warps, blocks and streams is drawn from seed N (default: the commit's number). Logs: build/cuda_on_cpu.
# The stand-ins come from build.sh in $RINGSIDE_CUDA_STANDIN, or else in ../shared/tools/ptx beside the checkout. Ends with 0,
# with 1 if something was wrong, with 77 where there are no stand-ins or no CUDA toolkit.
set -euo pipefail
source "$(dirname "$0")/../common.sh"
parse_arguments "$@"
set -- "${ARGS[@]}"
commit=$(git rev-parse --short=7 HEAD 2>/dev/null) || commit=1
long=0 seed=$((16#$commit))
while (($#)); do
  case $1 in
    --long) long=1 ;;
    --seed)
      [[ ${2:-} =~ ^[0-9]+$ ]] || { echo "$0: --seed needs a number" >&2; exit 2; }
      seed=$2
      shift
      ;;
    *) ARGS=("$1"); no_more_arguments ;;
  esac
  shift
done
standin=${RINGSIDE_CUDA_STANDIN:-../shared/tools/ptx}
left_out() { echo "[ci] $1" >&2; exit 77; }
[[ -f $standin/build.sh ]] || left_out "no stand-in for CUDA in $standin"
has_nvcc || left_out "no CUDA toolkit"

STRICT=1
build_preset release gpu_check_programs
stage "build the stand-ins" bash "$standin/build.sh" build/standin
logs=build/cuda_on_cpu
rm -rf "$logs"
mkdir -p "$logs"
set -a; source ci/mpi.env; set +a
export LD_LIBRARY_PATH=$root/build/standin${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PTXSIM_STRICT=1 PTXSIM_SEED=$seed

# step NAME COMMAND…: beside other steps, as many at a time as there are processors.
step() {
  while (($(jobs -rp | wc -l) >= $(nproc))); do wait -n || true; done
  stage "CUDA on a CPU, $1" logged "$@" &
}
# logged NAME COMMAND…: what it says goes to a file, of which the worst is shown. No tests at all are a failure.
logged() {
  local log=$logs/$1.txt
  if timeout --kill-after=10 $((long ? 14400 : 480)) "${@:2}" >"$log" 2>&1 </dev/null &&
    ! grep -F '[  PASSED  ] 0 tests' "$log"; then
    return
  fi
  grep -E '^PTXSIM|FAIL|rror' "$log" | tail -n 20
  echo "$1" >>"$logs/failed"
  return 1
}

ringside=build/release/ringside
# sweep CASES [FILTER]: with --long without the filter.
sweep() {
  local filter=()
  ((long || $# == 1)) || filter=(--filter "$2")
  step "$1.csv" "$ringside" sweep "cases/$1.csv" --device cuda --no-perf "${filter[@]}"
}
without=
((long)) || without='-*many_documents*'

sweep smoke
sweep emulated
while read -r kind program; do
  case $kind in
    primitives | communicators)
      step "$(basename "$program")" "$program" --gtest_brief=1 --gtest_filter="$GPU_TESTS$without" ;;
    nccl) step "two NCCL processes" env PTXSIM_DEVICES=2 mpirun -n 2 "$program" --gtest_brief=1 ;;
  esac
done <build/release/gpu_check.list
sweep packed '^(ring_zigzag|ulysses|balanced|usp.2)-.*-bf16-.*-n(300|480)-.*-sp4-causal-.*-(w64|w100-.*|pad75)$'
sweep gqa '^(ring_striped|lasp_fuse|double_ring.2|zeco.4|ulysses)-.*-bf16-.*-hk3-.*-sp4-causal-'
sweep systems '^(ring|lasp2|usp_striped.2|ulysses|balanced|lasp_cache)-.*-fp32-.*-b4-.*-sp2-'
step "two MPI processes" mpirun -n 2 "$ringside" sweep cases/emulated.csv --device cuda --comm mpi --no-perf --filter '-sp2-'
cat >"$logs/planted.csv" <<'CASES'
variant,operator,dtype,batch,seq,heads,kv_heads,head_dim,value_dim,dp,sp,causal
ring|ring_zigzag|ring_striped|double_ring.2|all_gather_kv.1|lasp_naive|lasp_fuse,,fp32|bf16,2,70,4,2,16,8,1,4,true
CASES
step "planted bugs" "$ringside" mutants --device cuda --smoke --cases "$logs/planted.csv" --filter '^(4|8|9|21) '
wait
if [[ -f $logs/failed ]]; then
  echo "[ci] CUDA on a CPU: failed with seed $seed; --seed $seed repeats it" >&2
  exit 1
fi
