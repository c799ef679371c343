#!/usr/bin/env bash
# ci/test.sh [--no-install] [--strict]: installs what is missing, builds the release, checks the format (where clang-format
# is installed) and runs all tests, the include rules among them. --strict stays with build/release: warnings are errors,
# and the device `cuda` is built wherever there is a toolkit.
set -euo pipefail
source "$(dirname "$0")/common.sh"
parse_arguments "$@"
strict_alone
install_packages --tests
build_preset release
status=0
stage format bash ci/format.sh --check || status=1
stage tests ctest --preset release --no-tests=error --parallel "$(nproc)" || status=1
exit "$status"
