#!/usr/bin/env bash
# ci/gate_the_gate.sh [--no-install] [--quick] [--keep DIR]: what the gate finds of what is known, on this machine as it
# is. It takes the noise of a case, then runs the gate 20 times on a program against itself (never SLOW), 10 times against
# one that is slower by max(10%, 3 delta) (SLOW), and on ones with a wrong rank (status 1), with more memory (1) and with a
# killed rank (5, threads and MPI), and prints the rates. --quick: 2 runs and 1 run, for CI. --keep: directory for the
# reports. Status 1: a false alarm, a miss or a wrong status; 4: too much contamination for a rate.
set -euo pipefail
source "$(dirname "$0")/common.sh"
parse_arguments "$@"
equal_runs=20 slow_runs=10 keep=
while ((${#ARGS[@]})); do
  case ${ARGS[0]} in
    --quick) equal_runs=2 slow_runs=1 ;;
    --keep) keep=${ARGS[1]:?--keep DIR}; ARGS=("${ARGS[@]:1}") ;;
    *) no_more_arguments ;;
  esac
  ARGS=("${ARGS[@]:1}")
done
install_packages --tests
build_preset release ringside_faulty
build_preset release ringside

work=${keep:-$(mktemp -d)}
mkdir -p "$work"
[[ -n $keep ]] || trap 'rm -rf "$work"' EXIT
rm -f "$work"/{equal,slow}.*.json "$work/noise.csv"  # of an earlier run, or another machine
# A case that fills a core for some milliseconds an iteration, alone and exchanging with another rank.
printf 'variant,seq,heads,head_dim,sp\nring,512,4,64,1|2\n' > "$work/cases.csv"
right=build/release/ringside
faulty=build/release/harness/gate/ringside_faulty

# gate NAME FAULT ARGUMENTS…: runs the gate of a right base and a faulty head; prints its status.
gate() {
  local name=$1 status=0
  RINGSIDE_FAULT=$2 "$right" gate --base "$right" --head "$faulty" "$work/cases.csv" --noise "$work/noise.csv" \
    --json "$work/$name.json" "${@:3}" > "$work/$name.out" 2> "$work/$name.err" || status=$?
  echo "$status"
}

# delta: the largest of a report's.
delta() {
  python3 -c 'import json, sys; print(max(t["delta"] for t in json.load(open(sys.argv[1]))["timed"]))' "$1"
}

# A gate is told what noise is by 20 rounds a case; a busy machine spoils some.
enough() {
  [[ -f $work/noise.csv ]] && python3 - "$work/noise.csv" <<'PYTHON'
import collections
import sys

rounds = collections.Counter(line.split(",")[0] for line in open(sys.argv[1]).readlines()[1:])
sys.exit(0 if len(rounds) == 2 and min(rounds.values()) >= 20 else 1)
PYTHON
}
for ((i = 0; i < 4; ++i)); do
  enough || stage "noise" "$right" gate --calibrate --head "$faulty" "$work/cases.csv" --noise "$work/noise.csv"
done
enough || echo "[ci] this machine is too busy to tell its noise: no verdict on time will be SLOW" >&2
failed=0
for ((i = 1; i <= equal_runs; ++i)); do
  status=$(gate "equal.$i" "" --seed "$i")
  [[ $status == 0 ]] || failed=1
  echo "[ci] equal programs, run $i of $equal_runs: status $status" >&2
done
share=$(python3 -c 'import sys; print(max(0.10, 3 * float(sys.argv[1])))' "$(delta "$work/equal.1.json")")
for ((i = 1; i <= slow_runs; ++i)); do
  status=$(gate "slow.$i" "slow=$share" --seed "$i")
  [[ $status == [03] ]] || failed=1  # 0: what was not found is counted below
  echo "[ci] head slower by $share, run $i of $slow_runs: status $status" >&2
done
expect() {  # NAME FAULT STATUS ARGUMENTS…
  local status
  status=$(gate "$1" "$2" "${@:4}")
  if [[ $status == "$3" ]]; then
    echo "[ci] $1: status $status, as it should be" >&2
  else
    echo "[ci] $1: status $status, not $3" >&2
    failed=1
  fi
}
expect wrong-rank wrong 1
expect more-memory hungry 1
expect killed-thread killed 5
expect killed-process killed 5 --mpi 2
expect killed-while-timed killed_later 5
python3 - "$work" "$equal_runs" "$slow_runs" "$failed" "$(enough && echo 1 || echo 0)" <<'PYTHON'
import collections
import json
import pathlib
import sys

work, equal_runs, slow_runs, failed, enough = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:])


def verdicts(kind, runs):
    """How often each, over cases and runs; a run without a report counts as ERROR."""
    counts, spoiled, rounds = collections.Counter(), 0, 0
    for i in range(1, runs + 1):
        report = work / f"{kind}.{i}.json"
        timed = json.loads(report.read_text())["timed"] if report.exists() else []
        counts.update([t["verdict"] for t in timed] or ["ERROR"])
        spoiled += sum(t["contaminated"] for t in timed)
        rounds += sum(t["rounds"] for t in timed)
    total = sum(counts.values())
    print(f"{kind}: {total} cases in {runs} runs: " + ", ".join(f"{n} {v}" for v, n in sorted(counts.items()))
          + f"; {spoiled} of {spoiled + rounds} rounds contaminated")
    return counts, total


equal, equal_total = verdicts("equal", equal_runs)
slow, slow_total = verdicts("slow", slow_runs)
alarms = equal["SLOW"] + equal["FAST"]
judged = slow_total - slow["CONTAMINATED"]
print(f"false alarms: {alarms} of {equal_total} ({equal['SLOW']} SLOW)")
print(f"detection: {slow['SLOW']} of {judged} that were not contaminated")
if failed or equal["SLOW"] or equal["ERROR"] or slow["ERROR"] or slow["SAME"] or slow["FAST"]:
    sys.exit(1)
if not judged:
    sys.exit(4)
sys.exit(0 if slow["SLOW"] == judged or not enough else 1)
PYTHON
