# Functions that the scripts beside it share. Sets INSTALL (1, or 0 after --no-install), STRICT (0, or 1
# after --strict) and ARGS (what else the caller was given).
STRICT=0
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# parse_arguments "$@": --no-install and --help are for the script, the rest goes to ARGS.
parse_arguments() {
  INSTALL=1 ARGS=()
  local argument
  for argument; do
    case $argument in
      --no-install) INSTALL=0 ;;
      -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
      *) ARGS+=("$argument") ;;
    esac
  done
}

# no_more_arguments: for scripts that take none but those.
no_more_arguments() {
  if ((${#ARGS[@]})); then
    echo "$0: unknown argument ${ARGS[0]}; see $0 --help" >&2
    exit 2
  fi
}

# strict_alone: for scripts that take those and --strict, which stays with build/release: warnings are errors (with CMake
# 3.24), and a CUDA toolkit is used whether or not there is a driver, as ci/gpu/cuda_on_cpu.sh needs it.
strict_alone() {
  if [[ ${ARGS[*]} == --strict ]]; then STRICT=1 ARGS=(); fi
  no_more_arguments
}

# stage NAME COMMAND…: runs the command and says in one line how it went and how long it took; the file $STAGES, where that is
# set, gets a line too. A command that ends with 77 leaves itself out, which only STRICT calls a failure.
stage() {
  local name=$1 begin=$EPOCHREALTIME status=0 depth=${STAGE_DEPTH:-0}
  shift
  STAGE_DEPTH=$((depth + 1)) "$@" || status=$?
  local ms=$(((${EPOCHREALTIME/[.,]/} - ${begin/[.,]/}) / 1000))
  local outcome=done
  ((status == 0)) || outcome="FAILED with status $status"
  ((status != 77)) || outcome="LEFT OUT"
  printf '[ci] %s: %s, %d.%d s\n' "$name" "$outcome" $((ms / 1000)) $((ms % 1000 / 100)) >&2
  if [[ -n ${STAGES:-} ]]; then
    printf '%s\t%*s%s\t%d.%d\t%s\n' "$begin" $((2 * depth)) '' "$name" $((ms / 1000)) $((ms % 1000 / 100)) "$outcome" >>"$STAGES"
  fi
  ((status != 77)) || status=$STRICT
  return "$status"
}

# install_packages [--tests] [--fuzz] [--torch]: what the build (all tests, the fuzz targets, torch_check.sh) needs, unless
# --no-install.
install_packages() {
  ((INSTALL == 0)) || stage install bash ci/install.sh "$@"
}

# has_fuzzer: whether clang++ makes fuzz targets here.
has_fuzzer() {
  clang++ -x c++ -fsanitize=fuzzer,address,undefined -o /dev/null - 2>/dev/null \
    <<<'#include <cstdint>
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t*, std::size_t) { return 0; }'
}

# choose_compiler: where g++ is too old for C++20 and a newer one stands beside it (Ubuntu 22.04), CMake gets that.
choose_compiler() {
  local version
  version=$(g++ -dumpversion 2>/dev/null) || version=0
  [[ -z ${CXX:-} ]] && ((${version%%.*} < 12)) || return 0
  for version in 14 13 12; do
    if command -v "g++-$version" >/dev/null; then
      export CC=gcc-$version CXX=g++-$version
      return 0
    fi
  done
}

# configure NAME PRESET [ARGUMENTS OF cmake…]: after it `cmake --build` can run. What it decides goes to standard error.
configure() {
  local name=$1
  shift
  choose_compiler
  stage "configure $name" cmake --preset "$@" --log-level=NOTICE >/dev/null
}

# build_preset PRESET [TARGET]: configures build/PRESET and builds all or TARGET with as many jobs as there are processors.
build_preset() {
  local preset=$1 target=${2:-all} cache=build/$1/CMakeCache.txt home options=()
  if [[ -f $cache ]]; then
    home=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$cache")
    if [[ $home != "$root" ]]; then
      echo "[ci] build/$preset was configured for $home, not for $root: configured anew" >&2
      rm -rf "build/$preset/CMakeFiles" "$cache"
    fi
  fi
  # The program alone asks for no package of the tests, unless they are built here already.
  if [[ $target == ringside ]] && ! grep -qs '^RINGSIDE_BUILD_TESTS:BOOL=ON$' "$cache"; then
    options+=(-DRINGSIDE_BUILD_TESTS=OFF -DRINGSIDE_BUILD_BENCHMARKS=OFF)
  fi
  if [[ $preset == release && $STRICT == 1 ]]; then
    options+=(-DCMAKE_COMPILE_WARNING_AS_ERROR=ON)
    if has_nvcc; then options+=(-DRINGSIDE_CUDA=ON -DRINGSIDE_CUDA_RUNTIME=Shared); fi
  fi
  configure "$preset" "$preset" "${options[@]}"
  stage "build $preset" cmake --build --preset "$preset" --target "$target" --parallel "$(nproc)"
}

# has_nvcc: whether there is a CUDA toolkit.
has_nvcc() {
  PATH=$PATH:/usr/local/cuda/bin command -v nvcc >/dev/null
}

# has_cuda PRESET: whether build/PRESET, once configured, has the device `cuda`.
has_cuda() {
  grep -q '^RINGSIDE_HAVE_CUDA:INTERNAL=ON$' "build/$1/CMakeCache.txt"
}

# The tests, in programs of gpu_check.list, that are for GPUs.
readonly GPU_TESTS='*cuda*:*Cuda*:*gpu*'
