#!/usr/bin/env bash
# ci/install.sh [--tests] [--fuzz] [--torch]: installs what the program is built from and is missing, with apt (Debian 12
# and 13, Ubuntu 22.04 and 24.04), with --tests what all tests need, with --fuzz the fuzz targets' compiler, with --torch
# PyTorch, where apt has it. Does nothing, quickly, when all is there. Without the right to install it prints the apt line
# and ends with status 2.
set -euo pipefail
[[ ${1:-} != @(-h|--help) ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; }

required=(
  g++ cmake ninja-build git                              # compiler and build; another g++ where this one is too old
  libopenmpi-dev openmpi-bin libhwloc-dev                # ranks and machine
  libeigen3-dev libcli11-dev libfmt-dev nlohmann-json3-dev libcsv-dev librandom123-dev
  libboost-dev libboost-context-dev                      # statistics of the gate; threads of the emulated GPU
  libpugixml-dev libsqlite3-dev libjs-chart.js           # gate, history, dashboard
)
optional=(libxsmm-dev)  # x86 only, not in every release; without it Eigen makes the CPU's tile products
lists=()  # optional packages that are worth a new package list
for argument; do
  case $argument in
    --fuzz)
      required+=(clang)
      optional+=(libclang-rt-dev)  # libFuzzer and the sanitizers; Ubuntu 22.04 has them in clang's own packages
      ;;
    --tests)
      required+=(libgtest-dev libgmock-dev libbenchmark-dev python3 python3-numpy)
      optional+=(python3-scipy chromium chromium-driver python3-selenium)  # Ubuntu has chromium as a snap alone
      lists+=(python3-scipy)
      ;;
    --torch)
      optional+=(python3-torch)  # not in every release
      lists+=(python3-torch)
      ;;
    *) echo "install.sh: unknown argument $argument; see install.sh --help" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null; then
  echo "install.sh: no apt here. Install what these Debian packages hold, then use --no-install:" >&2
  echo "  ${required[*]} ${optional[*]}" >&2
  exit 2
fi

# missing PACKAGE…: those that are not installed.
missing() {
  comm -23 <(printf '%s\n' "$@" | sort -u) \
    <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p' | sort -u)
}
# known PACKAGE…: succeeds if apt can install every one of them.
known() {
  local package
  for package; do
    [[ $(apt-cache policy "$package" 2>/dev/null) == *"Candidate: "[!\(]* ]] || return 1
  done
}

# compiler: g++, or g++-12 where g++ is older, as in Ubuntu 22.04; needs apt's lists unless g++ is installed.
compiler() {
  local major
  major=$(apt-cache policy g++ 2>/dev/null | sed -nE 's/^ *Candidate: ([0-9]+:)?([0-9]+)\..*/\2/p')
  if ((${major:-12} < 12)); then echo g++-12; else echo g++; fi
}

required[0]=$(compiler)
mapfile -t wanted < <(missing "${required[@]}")
mapfile -t extra < <(missing "${optional[@]}")
((${#wanted[@]} + ${#extra[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  if ((${#wanted[@]} == 0)); then exit 0; fi
  if ! command -v sudo >/dev/null; then
    echo "install.sh: not root and no sudo. As root:" >&2
    echo "  apt-get install --no-install-recommends ${wanted[*]}" >&2
    exit 2
  fi
  as_root=(sudo)
fi
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }

if ! known "${wanted[@]}" "${lists[@]}"; then
  apt update
  required[0]=$(compiler)
  mapfile -t wanted < <(missing "${required[@]}")
fi
for package in "${extra[@]}"; do
  if known "$package"; then wanted+=("$package"); fi
done
((${#wanted[@]})) || exit 0
echo "[ci] installing ${wanted[*]}" >&2
install=(install --no-install-recommends -y "${wanted[@]}")
# A package list that has aged names files that are gone: once more with a new one.
apt "${install[@]}" >/dev/null || { apt update && apt "${install[@]}" >/dev/null; }
