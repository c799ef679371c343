#!/usr/bin/env bash
# ci/format.sh [--check]: formats the C++ files of the tree; with --check it only says which are not as they should be.
# Versions of clang-format disagree in places: version 14 decides, and with another or none --check checks nothing.
set -euo pipefail
[[ ${1:-} != @(-h|--help) ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; }
if [[ ${1:---check} != --check || $# -gt 1 ]]; then
  echo "format.sh: unknown arguments $*; see $0 --help" >&2
  exit 2
fi
cd "$(dirname "$0")/.."
formatter=
for candidate in clang-format-14 clang-format; do
  if [[ $("$candidate" --version 2>/dev/null) == *"version 14."* ]]; then formatter=$candidate; break; fi
done
if [[ -z $formatter ]]; then
  echo "[ci] clang-format 14 is not installed: nothing done" >&2
  if [[ ${1:-} == --check ]]; then exit 0; fi
  exit 2
fi
mode=(-i)
[[ ${1:-} != --check ]] || mode=(--dry-run -Werror)
git ls-files -z -co --exclude-standard -- '*.h' '*.cpp' '*.cuh' '*.cu' | xargs -0 -r "$formatter" "${mode[@]}"
