#!/usr/bin/env bash
# ci/gpu_check.sh [--stage NAME]… [--prebuilt DIR] [--out DIR] [--device NAME]: checks Ringside on a machine with NVIDIA
# GPUs, in stages that can be run apart, each in less than 8 minutes on 16 cores and one H200:
#   build          the preset `cuda`; with --prebuilt only that the programs in DIR start
#   primitives     what each GPU function does, and each operation of the device, against plain definitions
#   communicators  ranks as threads on device memory; MPI on 2 ranks; NCCL with a GPU a rank (on one GPU two ranks share
#                  it, which NCCL does not support: reported, no verdict)
#   sweep          cases/smoke.csv, lasp_readme.csv, softmax.csv and packed.csv against the fp64 oracle
#   sanitizer      compute-sanitizer's memcheck, racecheck and synccheck on small cases, where that tool works
#   mutants        planted bugs, one variant each, on the device
#   times          kernels against their floors, beside PyTorch's in the same run where there is PyTorch
#   published      LASP's table (4 A100) beside ours in bf16/tf32, with the legacy metric
# DIR of --prebuilt is a build folder or one that ci/gpu/bundle.sh made. --device (default cuda) is for trying the script
# out: on another device sweeps are cut to a few cases, and stages that need a GPU are left out.
# Results go to --out (default build/gpu_check), five files in one folder: summary.txt, machine.txt, times.json,
# published.txt, results.tar.gz (the rest, with logs, a folder a stage). Stages that run later with the same --out are added.
# Nothing of the GPU's settings is changed. Exit status: 0 all stages passed, 1 some failed, 2 wrong usage, 77 none failed
# but the device cannot be used here.
set -euo pipefail
caller=$PWD
source "$(dirname "$0")/common.sh"

stages=(build primitives communicators sweep sanitizer mutants times published)
wanted=() prebuilt='' out='' device=cuda
usage_error() {
  echo "gpu_check.sh: $1; see $0 --help" >&2
  exit 2
}
from_caller() { [[ $1 == /* ]] && echo "$1" || echo "$caller/$1"; }
while (($#)); do
  case $1 in
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' ci/gpu_check.sh; exit 0 ;;
    --stage | --prebuilt | --out | --device) (($# > 1)) || usage_error "$1 needs a value" ;;&
    --stage)
      [[ " ${stages[*]} " == *" $2 "* ]] || usage_error "no stage '$2', there are: ${stages[*]}"
      wanted+=("$2")
      ;;
    --prebuilt) prebuilt=$(from_caller "$2") ;;
    --out) out=$(from_caller "$2") ;;
    --device)
      [[ $2 == @(cuda|emulated|cpu) ]] || usage_error "no device '$2', there are: cuda emulated cpu"
      device=$2
      ;;
    *) usage_error "unknown argument $1" ;;
  esac
  shift 2
done
((${#wanted[@]})) || wanted=("${stages[@]}")
out=${out:-$root/build/gpu_check}
programs=${prebuilt:-$root/build/cuda}
[[ -z $prebuilt || -f $prebuilt/gpu_check.list ]] || usage_error "--prebuilt $prebuilt: no gpu_check.list there"
# MPI as it works everywhere; what a bundle needs to find its own goes first.
set -a; source "$root/ci/mpi.env"; set +a
outer_library_path=${LD_LIBRARY_PATH:-}  # Python's libraries are not to be the bundle's
if [[ -f $programs/env.sh ]]; then source "$programs/env.sh"; fi

mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ -f $out/results.tar.gz ]]; then tar -xzf "$out/results.tar.gz" -C "$work"; fi

# --- what stages are made of

readonly kStageSeconds=465
left_out() {  # REASON: ends the stage as one that does not apply here
  echo "left out: $*"
  echo "$*" >"$folder/note"
  return 77
}
note() { echo "$*" | tee -a "$folder/note"; }
# program NAME: its path.
program() {
  local path
  path=$(awk -v name="$1" '{ n = split($2, parts, "/") } parts[n] == name { print $2 }' "$programs/gpu_check.list")
  if [[ -z $path ]]; then
    echo "program $1 is not among those of $programs" >&2
    return 1
  fi
  [[ $path == /* ]] && echo "$path" || echo "$programs/$path"
}
# limited COMMAND…: within what is left of the stage's time.
limited() {
  local left=$((kStageSeconds - SECONDS + began)) status=0
  ((left > 0)) || left=1
  echo "+ $*"
  timeout --kill-after=10 "$left" "$@" || status=$?
  ((status != 124 && status != 137)) || note "out of time: $*"
  return "$status"
}
# nothing_to_build_for: why not even the build is worth while; nothing if it is. The files are those of ci/cmake/cuda.cmake.
nothing_to_build_for() {
  [[ $device != cuda || -n $prebuilt || -e /proc/driver/nvidia/version || -e /dev/nvidiactl || -e /dev/dxg ]] ||
    echo "no NVIDIA driver"
}
# why_not: why the device cannot be used here; nothing if it can.
why_not() {
  local ringside line
  line=$(nothing_to_build_for)
  if [[ -n $line ]]; then echo "$line"; return; fi
  ringside=$(program ringside) || { echo "there is no built ringside"; return; }
  # The column begins with the name; devices come before communicators.
  line=$("$ringside" list | sed -n '/^devices$/,/^$/p' | grep -E "^  $device " || true)
  if [[ -z $line ]]; then
    echo "this build has no device $device"
  elif [[ $line == *"(unavailable: "* ]]; then
    line=${line##*"(unavailable: "}
    echo "${line%)}"
  fi
}
gpus() { nvidia-smi -L 2>/dev/null | grep -c '^GPU ' || true; }
needs_gpu() { [[ $device == cuda ]] || left_out "of --device cuda alone"; }
# run_tests STAGE: the test programs of that stage, what they have for this device.
run_tests() {
  local failed=0 path log filter="*$device*"
  [[ $device != cuda ]] || filter=$GPU_TESTS
  while read -r path; do
    [[ $path == /* ]] || path=$programs/$path
    log=$folder/$(basename "$path").txt
    if ! limited "$path" --gtest_brief=1 --gtest_filter="$filter" >"$log" 2>&1 </dev/null; then
      grep -E 'FAILED|Failure|rror' "$log" | head -20
      note "$(basename "$path") failed"
      failed=1
    fi
    # What GoogleTest says at the end: "[==========] N tests from M test suites ran."
    printf '%-28s %s\n' "$(basename "$path")" "$(grep -E '^\[(==========|  PASSED|  SKIPPED|  FAILED)' "$log" |
      grep -vE 'Running' | tr -s ' =' | tr '\n' ' ')"
    if grep -q '^\[==========\] 0 tests' "$log"; then echo "  (no test of it is for $device)"; fi
  done < <(awk -v stage="$1" '$1 == stage { print $2 }' "$programs/gpu_check.list")
  return "$failed"
}
# sweep_cases NAME CASES [ARGUMENT…]: a sweep whose results are kept as NAME; prints its last lines.
sweep_cases() {
  local name=$1 cases=$2 status=0
  shift 2
  limited "$(program ringside)" sweep "$cases" --device "$device" --out "$folder/$name" "$@" \
    >"$folder/$name.txt" 2>"$folder/$name.err" || status=$?
  grep -E '^[0-9]+ cases: ' "$folder/$name.txt" || tail -n 5 "$folder/$name.err"
  if ((status)); then note "$name: status $status"; fi
  return "$status"
}

# --- the stages; each writes under $folder

stage_build() {
  if [[ -z $prebuilt ]]; then
    limited cmake --preset cuda --log-level=WARNING
    limited cmake --build --preset cuda --target gpu_check_programs --parallel "$(nproc)"
  fi
  limited "$(program ringside)" --version
  local why
  why=$(why_not)
  note "device $device: ${why:-usable}"
}

stage_primitives() {
  run_tests primitives
}

stage_communicators() {
  local failed=0 status=0 count ranks ringside
  ringside=$(program ringside)
  run_tests communicators || failed=1
  echo "--- MPI, 2 ranks"
  local two=(--filter 'fp32.*-dp1-sp2(-|$)' --no-perf --timeout 60 --device "$device")
  limited "$ringside" launch -n 2 -- sweep cases/smoke.csv --comm mpi "${two[@]}" --out "$folder/mpi" \
    >"$folder/mpi.txt" 2>&1 || { note "mpi: status $?"; failed=1; }
  grep -E '^[0-9]+ cases: ' "$folder/mpi.txt" || tail -n 5 "$folder/mpi.txt"
  [[ $device == cuda ]] || return "$failed"
  count=$(gpus)
  if ((count > 1)); then
    ranks=$((count < 8 ? count : 8))
    echo "--- NCCL, $ranks ranks on $count GPUs"
    limited "$ringside" launch -n "$ranks" -- sweep cases/smoke.csv --comm nccl --no-perf --timeout 60 \
      --device cuda --out "$folder/nccl" >"$folder/nccl.txt" 2>&1 || { note "nccl: status $?"; failed=1; }
    limited mpirun -n "$ranks" "$(program nccl_communicator_test)" >>"$folder/nccl.txt" 2>&1 ||
      { note "nccl_communicator_test: status $?"; failed=1; }
  else
    echo "--- NCCL, 2 ranks on one GPU: not supported by NCCL, no verdict"
    # A host of its own each, and sockets: past the check for two ranks on one device.
    NCCL_P2P_DISABLE=1 NCCL_SHM_DISABLE=1 NCCL_SOCKET_IFNAME=lo limited timeout --kill-after=5 120 \
      mpirun -n 2 bash -c 'NCCL_HOSTID=ringside$OMPI_COMM_WORLD_RANK exec "$@"' rank \
      "$(program nccl_communicator_test)" >"$folder/nccl.txt" 2>&1 || status=$?
    note "NCCL on one GPU (unsupported): status $status"
  fi
  grep -E '^[0-9]+ cases: |PASSED|FAILED' "$folder/nccl.txt" || tail -n 5 "$folder/nccl.txt"
  return "$failed"
}

stage_sweep() {
  local failed=0 name
  if [[ $device != cuda ]]; then
    sweep_cases smoke cases/smoke.csv --filter '^(ring|lasp_fuse)-.*fp32.*sp2(-|$)' --no-perf
    return
  fi
  for name in smoke lasp_readme softmax packed; do
    sweep_cases "$name" "cases/$name.csv" --repeat 1 || failed=1
  done
  return "$failed"
}

stage_sanitizer() {
  needs_gpu || return
  local tool failed=0 status
  command -v compute-sanitizer >/dev/null || PATH=$PATH:/usr/local/cuda/bin
  command -v compute-sanitizer >/dev/null || { left_out "there is no compute-sanitizer"; return; }
  cat >"$folder/cases.csv" <<'CASES'
variant,operator,dtype,math,batch,seq,heads,kv_heads,head_dim,value_dim,sp,window,cu_seqlens,padding
ring_zigzag,,fp32,fp32,1,100,2,1,24,16,2,,,
ring_zigzag,,bf16,bf16,1,170,2,1,64,64,2,,,
ring,,fp16,tf32,1,150,2,2,40,24,1,30,0+50+51+140,10
lasp_naive|lasp_fuse|lasp_fuse_parallel,,fp32,fp32,1,150,2,2,24,16,2,,,
lasp_naive|lasp_fuse|lasp_fuse_parallel,,bf16,tf32,1,300,2,1,64,32,1,,0+70+281,19
CASES
  local sweep=("$(program ringside)" sweep "$folder/cases.csv" --device cuda --no-perf --timeout 400)
  for tool in memcheck racecheck synccheck; do
    status=0
    limited compute-sanitizer --tool "$tool" --error-exitcode 99 "${sweep[@]}" \
      --out "$folder/$tool" >"$folder/$tool.txt" 2>&1 || status=$?
    if grep -qiE 'device not supported|failed to initialize|unable to' "$folder/$tool.txt"; then
      note "$tool does not work here: $(grep -m1 -iE 'not supported|failed|unable' "$folder/$tool.txt")"
    elif ((status == 99)) || ! grep -qE 'ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards' "$folder/$tool.txt"; then
      note "$tool: $(grep -E 'SUMMARY' "$folder/$tool.txt" | tail -n 1 || true) (status $status)"
      failed=1
    elif ((status)); then
      note "$tool: no errors, but the sweep ended with $status"
      failed=1
    else
      echo "$tool: no errors"
    fi
  done
  return "$failed"
}

stage_mutants() {
  local filter=()
  [[ $device == cuda ]] || filter=(--filter '^(4|31) ')
  limited "$(program ringside)" mutants --smoke --device "$device" --csv "$folder/mutants.csv" "${filter[@]}" \
    >"$folder/mutants.txt" 2>"$folder/mutants.err" || { tail -n 5 "$folder/mutants.txt" "$folder/mutants.err"; return 1; }
  tail -n 2 "$folder/mutants.txt"
}

stage_times() {
  needs_gpu || return
  local kernel_times candidate failed=0 python=() again=()
  kernel_times=$(program kernel_times)
  limited "$kernel_times" --json "$folder/ours.json" | tee "$folder/ours.txt" || { note "kernel_times failed"; failed=1; }
  [[ -f $folder/ours.json ]] || return 1
  for candidate in python3 /usr/bin/python3; do
    if env LD_LIBRARY_PATH="$outer_library_path" "$candidate" -c \
      'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
      python=(env LD_LIBRARY_PATH="$outer_library_path" "$candidate")
      break
    fi
  done
  if ((${#python[@]} == 0)); then
    note "no peers: no PyTorch that sees the GPU"
    cp "$folder/ours.json" "$out/times.json"
    return "$failed"
  fi
  limited "${python[@]}" baselines/peers/gpu_peers.py --json "$folder/peers.json" >"$folder/peers.txt" 2>&1 ||
    { note "peers: status $?"; tail -n 20 "$folder/peers.txt"; }
  # Once more behind the peers: what the card's state changed meanwhile shows.
  limited "$kernel_times" --json "$folder/again.json" >"$folder/again.txt" && again=("$folder/again.json")
  if [[ -f $folder/peers.json ]]; then
    "${python[@]}" baselines/peers/gpu_peers.py --table "$folder/ours.json" "${again[@]}" "$folder/peers.json" \
      --joined "$out/times.json" | tee "$folder/times.txt"
    return "$failed"
  else
    cp "$folder/ours.json" "$out/times.json"
    return 1
  fi
}

stage_published() {
  needs_gpu || return
  sweep_cases lasp_bf16_tf32 cases/lasp_readme.csv --filter 'bf16-tf32' --repeat 1 || { tail -n 20 "$folder/lasp_bf16_tf32.txt"; return 1; }
  cp "$folder/lasp_bf16_tf32.txt" "$out/published.txt"
  echo "the columns legacy (ours) and published (4 A100): $out/published.txt"
}

# --- running them

describe_machine() {
  date -u '+%Y-%m-%d %H:%M UTC'
  uname -srm
  grep -m1 '^model name' /proc/cpuinfo || true
  echo "processors: $(nproc)"
  grep -m1 '^MemTotal' /proc/meminfo || true
  git describe --always --dirty 2>/dev/null || true
  if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=index,name,driver_version,vbios_version,memory.total,compute_mode,persistence_mode,mig.mode.current,power.limit,ecc.mode.current --format=csv || true
    nvidia-smi --query-gpu=index,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,clocks_event_reasons.active,temperature.gpu,power.draw,utilization.gpu --format=csv || true
    nvidia-smi -q -d MEMORY,CLOCK,PERFORMANCE | head -n 120 || true
    nvidia-smi topo -m || true
  else
    echo "no nvidia-smi"
  fi
  nvcc --version 2>/dev/null | tail -n 2 || true
}
describe_machine >"$out/machine.txt" 2>&1

# run_stage NAME: in a subshell, so that nothing of it ends the others; its line goes to NAME/outcome.
run_stage() {
  folder=$work/$1 began=$SECONDS
  rm -rf "$folder"
  mkdir -p "$folder"
  : >"$folder/note"
  local status=0 outcome why=''
  echo "=== $1"
  if [[ $1 == build ]]; then why=$(nothing_to_build_for); else why=$(why_not); fi
  if [[ -n $why ]]; then
    echo "$why"
    echo "$why" >"$folder/note"
    status=77
  else
    # set -e does not hold on the left of ||: a shell of its own, whose status is asked for.
    set +e
    (set -e; "stage_$1") 2>&1 | tee "$folder/log.txt"
    status=${PIPESTATUS[0]}
    set -e
  fi
  case $status in
    0) outcome=passed ;;
    77) outcome='left out' ;;
    *) outcome=FAILED ;;
  esac
  [[ $status == 0 || $status == 77 ]] || failures=$((failures + 1))
  [[ $status != 77 || -z $why ]] || unusable=$((unusable + 1))
  printf '%-14s %-9s %5d s  %s\n' "$1" "$outcome" $((SECONDS - began)) \
    "$(tr '\n' ';' <"$folder/note" | sed 's/;$//; s/;/; /g' | cut -c 1-160)" >"$folder/outcome"
}

# keep_results: what there is so far; nothing is lost if a later stage is.
keep_results() {
  local name
  {
    echo "Ringside on $device, $(date -u '+%Y-%m-%d %H:%M UTC')"
    for name in "${stages[@]}"; do
      if [[ -f $work/$name/outcome ]]; then cat "$work/$name/outcome"; fi
    done
  } >"$out/summary.txt"
  tar -czf "$out/results.tar.gz" -C "$work" .
}

failures=0 unusable=0
for name in "${wanted[@]}"; do
  run_stage "$name"
  keep_results
done
echo
if [[ -f $work/times/times.txt ]]; then cat "$work/times/times.txt"; fi
cat "$out/summary.txt"
echo "results: $out ($(du -sh "$out" | cut -f 1))"
((failures == 0)) || exit 1
((unusable == 0)) || exit 77
