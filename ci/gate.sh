#!/usr/bin/env bash
# ci/gate.sh [--no-install] BASE HEAD [CASES] [-- ARGUMENTS OF gate…]: installs what is missing, builds two commits, each
# in a git worktree that goes again (build/gate/COMMIT/ringside stays and is not built twice), and judges HEAD: its
# verdicts, and its times in pairs with BASE's. CASES: by default cases/gate.csv as it is in BASE, or if that has none in
# HEAD, since an older program refuses variants that it does not know. Ends with gate's status;
# `build/gate/COMMIT/ringside gate --help` has the arguments.
set -euo pipefail
source "$(dirname "$0")/common.sh"
gate_arguments=() own=()
for argument; do
  if ((${#gate_arguments[@]})) || [[ $argument == -- ]]; then gate_arguments+=("$argument"); else own+=("$argument"); fi
done
parse_arguments "${own[@]}"
if ((${#ARGS[@]} < 2 || ${#ARGS[@]} > 3)); then
  echo "$0: BASE and HEAD are wanted, and maybe CASES; see $0 --help" >&2
  exit 2
fi

# commit_of NAME: the commit that a branch, tag or hash names.
commit_of() {
  git rev-parse --verify --quiet --end-of-options "$1^{commit}" || {
    echo "$0: $1 is no commit here" >&2
    exit 2
  }
}
base=$(commit_of "${ARGS[0]}")
head=$(commit_of "${ARGS[1]}")
cases=${ARGS[2]:-}
if [[ -n $cases && ! -f $cases ]]; then
  echo "$0: $cases: no such file" >&2
  exit 2
fi
if [[ -n $(git status --porcelain --untracked-files=no) ]]; then
  echo "[ci] gate: the working tree has changes that are in no commit: they are not judged" >&2
fi
install_packages

mkdir -p build/gate
tree=$root/build/gate/tree  # one path for all commits: programs hold it, compiler caches look at it
exec 9> build/gate/lock
flock --nonblock 9 || { echo "$0: another gate is building here" >&2; exit 5; }
trap 'git worktree remove --force "$tree" 2>/dev/null || true' EXIT

# build_commit COMMIT: makes build/gate/COMMIT/ringside, unless it is there. Its caller looks at its status, so `set -e`
# does not hold in it.
build_commit() {
  local out=$root/build/gate/$1
  [[ ! -x $out/ringside ]] || { echo "[ci] build ${1:0:12}: is there" >&2; return 0; }
  git worktree remove --force "$tree" 2>/dev/null || true
  rm -rf "$tree"
  git worktree add --quiet --force --detach "$tree" "$1" || return  # forced: it may be known still, though gone
  (
    cd "$tree" || exit
    export CCACHE_BASEDIR=$tree
    configure "${1:0:12}" release -DRINGSIDE_BUILD_TESTS=OFF -DRINGSIDE_BUILD_BENCHMARKS=OFF &&
      stage "build ${1:0:12}" cmake --build --preset release --target ringside --parallel "$(nproc)"
  ) 9>&- >&2 || return
  mkdir -p "$out" && mv "$tree/build/release/ringside" "$out/ringside" && git worktree remove --force "$tree"
}
for commit in "$base" "$head"; do
  build_commit "$commit" || { echo "$0: ${commit:0:12} does not build" >&2; exit 5; }
done
trap - EXIT  # from here on the tree is another gate's to make
exec 9>&-

if [[ -z $cases ]]; then
  cases=build/gate/$base/gate.csv
  git show "$base:cases/gate.csv" > "$cases" 2>/dev/null || git show "$head:cases/gate.csv" > "$cases" 2>/dev/null || {
    echo "$0: neither commit has cases/gate.csv: name CASES" >&2
    exit 2
  }
fi
# BASE's program judges, lest HEAD judge itself; a BASE of before there was this gate cannot.
judge=build/gate/$base/ringside
"$judge" gate --help 2>/dev/null | grep -q -e --head || judge=build/gate/$head/ringside
stage gate "$judge" gate --base "build/gate/$base/ringside" --head "build/gate/$head/ringside" \
  "$cases" "${gate_arguments[@]:1}"
