#!/usr/bin/env bash
# ci/fuzz.sh [--no-install] [--runs N | --seconds S | --keep]: builds the fuzz targets (clang with libFuzzer) and gives each
# in turn N files, or files for S seconds (without either: 60). They start from harness/fuzz/corpus/, which stays as it is,
# and from what earlier runs found new, in build/fuzz/found/. Files that end a target are kept in build/fuzz/crashes/
# and named at the end, with status 1; build/fuzz/harness/fuzz/TARGET FILE repeats one.
# With --keep nothing is fuzzed: of build/fuzz/found/, what covers more than the corpus does goes into its archive,
# harness/fuzz/corpus/TARGET.tar.gz, whose bytes depend on the files alone. A target without an archive gets an empty one.
set -euo pipefail
source "$(dirname "$0")/common.sh"
parse_arguments "$@"
limit=-max_total_time=60 action=fuzz
if [[ ${ARGS[*]} =~ ^--(runs|seconds)\ ([1-9][0-9]*)$ ]]; then
  limit=-max_total_time=${BASH_REMATCH[2]}
  [[ ${BASH_REMATCH[1]} == seconds ]] || limit=-runs=${BASH_REMATCH[2]}
elif [[ ${ARGS[*]} == --keep ]]; then
  action=keep
else
  ((${#ARGS[@]} == 0)) || { echo "$0: unknown arguments ${ARGS[*]}; see $0 --help" >&2; exit 2; }
fi
install_packages --fuzz
if ! has_fuzzer; then
  echo "$0: no clang++ with libFuzzer here (Debian: clang, libclang-rt-dev)" >&2
  exit 2
fi

# fuzz TARGET: runs it, its report in build/fuzz/TARGET.log; shows its end if it failed, one line of figures if not.
fuzz() {
  local target=$1 found=build/fuzz/found/$1 log=build/fuzz/$1.log
  mkdir -p "$found" build/fuzz/crashes
  if "build/fuzz/harness/fuzz/$target" "$limit" -max_len=1024 -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=64 \
    -dict="harness/fuzz/$target.dict" -artifact_prefix="build/fuzz/crashes/$target-" \
    "$found" "harness/fuzz/corpus/$target" "build/fuzz/harness/fuzz/corpus/$target" &>"$log"; then
    grep -E '^#[0-9]+[[:space:]]DONE' "$log"
  else
    tail -n 60 "$log"
    return 1
  fi
}

# pack FOLDER ARCHIVE: its files, by name, without times and owners.
pack() {
  LC_ALL=C ls "$1" | tar -C "$1" -T - -c --format=ustar --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=644 \
    | gzip -9n >"$2.new" && mv "$2.new" "$2"
}

# keep TARGET: packs the archive's files and those that libFuzzer adds to them; it stays as it is where nothing is new.
keep() {
  local target=$1 corpus=harness/fuzz/corpus/$1 log=build/fuzz/$1.log merged=build/fuzz/merged/$1 archived=() files=()
  archived=(build/fuzz/harness/fuzz/corpus/"$target"/*)
  rm -rf "$merged"
  mkdir -p "$merged" "build/fuzz/found/$target" && cp "${archived[@]}" "$corpus"/* "$merged" || return 1
  if ! "build/fuzz/harness/fuzz/$target" -merge=1 -timeout=10 "$merged" "build/fuzz/found/$target" &>"$log"; then
    tail -n 60 "$log"
    return 1
  fi
  (cd "$corpus" && ls) | (cd "$merged" && xargs -d '\n' rm) || return 1
  files=("$merged"/*)
  ((${#files[@]} == ${#archived[@]})) || pack "$merged" "$corpus.tar.gz" || return 1
  echo "$corpus.tar.gz: ${#files[@]} files, $((${#files[@]} - ${#archived[@]})) of them new"
}

shopt -s nullglob  # an archive may be empty
targets=()
for source in harness/fuzz/fuzz_*.cpp; do
  target=$(basename "$source" .cpp)
  targets+=("$target")
  if [[ ! -e harness/fuzz/corpus/$target.tar.gz ]]; then
    mkdir -p build/fuzz/nothing
    pack build/fuzz/nothing "harness/fuzz/corpus/$target.tar.gz"
  fi
done
build_preset fuzz fuzz_targets
status=0
for target in "${targets[@]}"; do
  stage "$target" "$action" "$target" || status=1
done
if ((status)) && [[ -d build/fuzz/crashes ]]; then
  find build/fuzz/crashes -type f -printf '[ci] kept: %p\n' >&2
fi
exit "$status"
