#!/usr/bin/env bash
# ci/fuzz.sh [--no-install] [--runs N | --seconds S]: builds the fuzz targets (clang with libFuzzer) and gives each in
# turn N files, or files for S seconds (without either: 60). They start from harness/fuzz/corpus/, which stays as it is,
# and from what earlier runs found new, in build/fuzz/found/. Files that end a target are kept in build/fuzz/crashes/
# and named at the end, with status 1; build/fuzz/harness/fuzz/TARGET FILE repeats one.
set -euo pipefail
source "$(dirname "$0")/common.sh"
parse_arguments "$@"
limit=-max_total_time=60
if [[ ${ARGS[*]} =~ ^--(runs|seconds)\ ([1-9][0-9]*)$ ]]; then
  limit=-max_total_time=${BASH_REMATCH[2]}
  [[ ${BASH_REMATCH[1]} == seconds ]] || limit=-runs=${BASH_REMATCH[2]}
else
  ((${#ARGS[@]} == 0)) || { echo "$0: unknown arguments ${ARGS[*]}; see $0 --help" >&2; exit 2; }
fi
install_packages --fuzz
if ! has_fuzzer; then
  echo "$0: no clang++ with libFuzzer here (Debian: clang, libclang-rt-dev)" >&2
  exit 2
fi
build_preset fuzz fuzz_targets

# fuzz TARGET: runs it, its report in build/fuzz/TARGET.log; shows its end if it failed, one line of figures if not.
fuzz() {
  local target=$1 found=build/fuzz/found/$1 log=build/fuzz/$1.log
  mkdir -p "$found" build/fuzz/crashes
  if "build/fuzz/harness/fuzz/$target" "$limit" -max_len=1024 -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=64 \
    -dict="harness/fuzz/$target.dict" -artifact_prefix="build/fuzz/crashes/$target-" \
    "$found" "harness/fuzz/corpus/$target" &>"$log"; then
    grep -E '^#[0-9]+[[:space:]]DONE' "$log"
  else
    tail -n 60 "$log"
    return 1
  fi
}

status=0
for source in harness/fuzz/fuzz_*.cpp; do
  target=$(basename "$source" .cpp)
  stage "$target" fuzz "$target" || status=1
done
if ((status)); then
  find build/fuzz/crashes -type f -printf '[ci] kept: %p\n' >&2
fi
exit "$status"
