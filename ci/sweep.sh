#!/usr/bin/env bash
# ci/sweep.sh [--no-install] [ARGUMENTS OF sweep…]: installs what is missing, builds the release and runs LASP's table
# on 4 MPI ranks, results in results/. Ends with the sweep's status; `build/release/ringside sweep --help` has the
# arguments.
set -euo pipefail
source "$(dirname "$0")/common.sh"
parse_arguments "$@"
install_packages
build_preset release ringside
stage sweep build/release/ringside launch -n 4 -- sweep cases/lasp_readme.csv --out results "${ARGS[@]}"
