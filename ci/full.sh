#!/usr/bin/env bash
# ci/full.sh [--no-install] [--strict]: all tests under the address and undefined-behaviour sanitizers, those of threads
# (without MPI, which is not clean there) under the thread sanitizer, the fuzz targets for 20 seconds each, every planted
# bug, 500 random cases, the verdicts on implementations in PyTorch, the GPU kernels' registers, the CUDA code run on a CPU
# (ci/gpu/cuda_on_cpu.sh), and the program run as it is installed. Without clang (with --no-install) the fuzz targets are left
# out, without PyTorch what needs it, and the registers where build/release is without the device `cuda`; --strict builds it
# wherever there is a toolkit. The CUDA code is left out where it cannot run, which --strict calls a failure.
set -euo pipefail
source "$(dirname "$0")/common.sh"
parse_arguments "$@"
strict_alone
install_packages --tests --fuzz

build_preset asan
export LSAN_OPTIONS="suppressions=$root/ci/lsan.supp:print_suppressions=0" UBSAN_OPTIONS=print_stacktrace=1
stage "test asan" ctest --preset asan -LE mpi --no-tests=error --parallel "$(nproc)"
# What MPI leaks comes from modules that are unloaded by the end: only whole call stacks reach a suppressed library.
ASAN_OPTIONS=fast_unwind_on_malloc=0 stage "test asan, MPI" ctest --preset asan -L mpi --no-tests=error

build_preset tsan
# Kernels with many random address bits leave gcc's thread sanitizer no room: without randomisation where allowed.
fixed=()
if setarch -R true 2>/dev/null; then fixed=(setarch -R); fi
stage "test tsan" "${fixed[@]}" ctest --preset tsan --no-tests=error --parallel "$(nproc)"

if ((INSTALL)) || has_fuzzer; then
  bash ci/fuzz.sh --no-install --seconds 20
else
  echo "[ci] fuzz: LEFT OUT, no clang++ with libFuzzer here" >&2
fi

build_preset release
if has_cuda release; then
  stage "registers of GPU kernels" python3 ci/gpu/check_spills.py build/release
else
  echo "[ci] CUDA: LEFT OUT, build/release is without it" >&2
fi
stage "CUDA on a CPU" bash ci/gpu/cuda_on_cpu.sh
stage "mutants" build/release/ringside mutants
if ((INSTALL)); then
  bash ci/torch_check.sh
else
  bash ci/torch_check.sh --no-install
fi
stage "soak" build/release/ringside soak --cases 500 --red build/soak-red.csv
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
stage "install into $prefix" cmake --install build/release --prefix "$prefix"
stage "run installed --version" "$prefix/bin/ringside" --version
stage "run installed list" "$prefix/bin/ringside" launch -n 2 -- list
