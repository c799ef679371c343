#!/usr/bin/env bash
# ci/sweep.sh [--no-install] [ARGUMENTS OF sweep…]: installs what is missing, builds the release, runs LASP's table on 4
# MPI ranks, results in results/ (or what --out says), and makes dashboard.html of them there. Ends with the sweep's
# status; `build/release/ringside sweep --help` has the arguments.
set -euo pipefail
source "$(dirname "$0")/common.sh"
parse_arguments "$@"
install_packages
build_preset release ringside
out=results before=
for argument in "${ARGS[@]}"; do
  [[ $before != --out ]] || out=$argument
  [[ $argument != --out=* ]] || out=${argument#--out=}
  before=$argument
done
status=0
stage sweep build/release/ringside launch -n 4 -- sweep cases/lasp_readme.csv --out "$out" "${ARGS[@]}" || status=$?
# a sweep that was refused leaves the results of an earlier one as they are
if ((status != 2)) && [[ -s $out/results.jsonl ]]; then
  if stage dashboard build/release/ringside dashboard "$out" -o "$out/dashboard.html"; then
    echo "[ci] to look at the results, open $out/dashboard.html in a browser" >&2
  elif ((status == 0)); then
    status=5
  fi
fi
exit "$status"
