#!/usr/bin/env bash
# ci/gpu/check_test.sh BUILD_FOLDER: gpu_check.sh where there need be no GPU: its usage, a stage on the emulated GPU, what it
# says of a device that cannot be used, and that a later stage's results join the earlier ones. And that it runs every
# program with tests of all devices.
set -euo pipefail
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
check=(bash "$(dirname "$0")/../gpu_check.sh")

# expect STATUS TEXT COMMAND…
expect() {
  local status=0 wanted=$1 text=$2
  shift 2
  "$@" >"$out/log" 2>&1 </dev/null || status=$?
  if ((status == wanted)) && grep -q -- "$text" "$out/log"; then return; fi
  cat "$out/log"
  echo "$*: status $status, expected $wanted and '$text'" >&2
  exit 1
}
expect 0 'compute-sanitizer' "${check[@]}" --help
expect 2 "no stage 'nothing'" "${check[@]}" --stage nothing
expect 2 "unknown argument --fast" "${check[@]}" --fast
expect 2 'needs a value' "${check[@]}" --out
expect 2 'no gpu_check.list there' "${check[@]}" --prebuilt "$out"
there=(--prebuilt "$1" --out "$out/results")
expect 0 '^sweep  *passed' "${check[@]}" "${there[@]}" --device emulated --stage sweep
expect 2 "no device 'abacus'" "${check[@]}" --device abacus
if "$1/ringside" list | grep -q '^  cuda .*(unavailable: '; then
  expect 77 '^mutants  *left out' "${check[@]}" "${there[@]}" --stage mutants
fi
expect 0 'sweep/smoke/results.jsonl' tar -tzf "$out/results/results.tar.gz"
expect 0 '^sweep  *passed' grep -E 'sweep|mutants' "$out/results/summary.txt"

for program in "$1"/{kernels,distributed/*}/*_test; do
  if [[ $("$program" --gtest_list_tests --gtest_filter='*/emulated*') == */emulated* ]]; then
    expect 0 . grep "/${program##*/}$" "$1/gpu_check.list"
  fi
done
