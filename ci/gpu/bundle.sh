#!/usr/bin/env bash
# ci/gpu/bundle.sh OUT_DIR [--build DIR]: makes OUT_DIR, a folder that can be moved to machines with an NVIDIA driver, CUDA's
# libraries and none of what the build needs; there `bash ci/gpu_check.sh --prebuilt .` in it checks the GPU, and
# `source env.sh` sets what ringside and mpirun need. In it: the programs of gpu_check, for any x86-64-v3 processor; the
# shared libraries they need, mpirun with its plugins; cases/, ci/, baselines/. Left to the target: glibc (at least the
# build machine's), the driver (libcuda) and CUDA's own libraries. cuBLAS is looked for by the loader and in CUDA's usual
# places, NCCL besides where a Python has it (env.sh).
# --build takes a build folder that is there; by default build/bundle is made: the preset `cuda` with
# RINGSIDE_MARCH=x86-64-v3. Needs a CUDA toolkit, ldd and Open MPI. Fails if the folder packs to 48 MiB or more.
set -euo pipefail
caller=$PWD
source "$(dirname "$0")/../common.sh"
out='' build=''
while (($#)); do
  case $1 in
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' ci/gpu/bundle.sh; exit 0 ;;
    --build) (($# > 1)) || { echo "bundle.sh: --build needs a value" >&2; exit 2; }; build=$2; shift ;;
    -*) echo "bundle.sh: unknown argument $1; see $0 --help" >&2; exit 2 ;;
    *)
      [[ -z $out ]] || { echo "bundle.sh: unknown argument $1; see $0 --help" >&2; exit 2; }
      out=$1
      ;;
  esac
  shift
done
[[ -n $out ]] || { echo "bundle.sh: where to? See $0 --help" >&2; exit 2; }
[[ $out == /* ]] || out=$caller/$out
if [[ -e $out && -n $(ls -A "$out") ]]; then
  echo "bundle.sh: $out is there and not empty" >&2
  exit 2
fi
if [[ -z $build ]]; then
  build=$root/build/bundle
  configure bundle cuda -B "$build" -DRINGSIDE_MARCH=x86-64-v3 -DRINGSIDE_BUILD_BENCHMARKS=OFF -DBUILD_SHARED_LIBS=ON \
    -DCMAKE_POSITION_INDEPENDENT_CODE=ON
  stage "build bundle" cmake --build "$build" --target gpu_check_programs --parallel "$(nproc)"
fi
[[ -f $build/gpu_check.list ]] || { echo "bundle.sh: $build has no gpu_check.list" >&2; exit 2; }
mkdir -p "$out"/{bin,lib}

# --- programs
while read -r name path; do
  [[ -f $path ]] || { echo "bundle.sh: $path is not built" >&2; exit 1; }
  install -s "$path" "$out/bin/"
  echo "$name bin/$(basename "$path")"
done <"$build/gpu_check.list" >"$out/gpu_check.list"

# --- the libraries of programs and plugins
# What stays the target's: glibc, the driver, CUDA.
target='/(ld-linux-x86-64|libc|libm|libmvec|libpthread|libdl|librt|libresolv|libutil|libanl|libnss_[a-z]+|libcuda|libcudart|libcublas|libcublasLt|libnccl|libnvidia-[a-z]+)\.so'
# needs FILE…: paths of the libraries that they load.
needs() { ldd "$@" 2>/dev/null | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | grep -Ev "$target" | sort -u || true; }
# copy_tree FOLDER: a folder of the system to the same place below OUT_DIR.
copy_tree() {
  mkdir -p "$out$(dirname "$1")"
  cp -rL "$1" "$out$(dirname "$1")/"
}

# mpirun and its plugins at the places that Debian and Ubuntu have them, with OUT_DIR/usr for /usr: that is what OPAL_PREFIX
# makes of the paths that are compiled in.
mpirun=$(readlink -f "$(command -v mpirun)")
system=$(dirname "$(readlink -f "$(needs "$mpirun" | grep libopen-rte)")")
system=${system%/openmpi/lib}
[[ -d $system/openmpi/lib/openmpi3 && -d $system/pmix2/lib/pmix ]] || {
  echo "bundle.sh: no Open MPI 4 of Debian's or Ubuntu's in $system" >&2
  exit 1
}
mkdir -p "$out/usr/bin" "$out$system/openmpi/lib/openmpi3" "$out$system/pmix2/lib"
install -s "$mpirun" "$out/usr/bin/orterun"
ln -s orterun "$out/usr/bin/mpirun"
install -s "$(readlink -f "$(command -v orted)")" "$out/usr/bin/orted"
copy_tree /usr/share/openmpi
[[ ! -d /etc/openmpi ]] || copy_tree /etc/openmpi
copy_tree "$system/pmix2/lib/pmix"
[[ ! -d $system/pmix2/share ]] || copy_tree "$system/pmix2/share"
mapfile -t libraries < <(needs "$out"/bin/* "$mpirun" "$system"/pmix2/lib/pmix/*.so)
# libpmix is opened by a plugin. Plugins for networks that bring libraries of their own (UCX, libfabric, …) are left out.
libraries+=("$system/pmix2/lib/libpmix.so.2")
mapfile -t libraries < <({ printf '%s\n' "${libraries[@]}"; needs "${libraries[@]}"; } | sort -u)
for plugin in "$system"/openmpi/lib/openmpi3/*.so; do
  foreign=$(comm -13 <(printf '%s\n' "${libraries[@]##*/}" | sort -u) <(needs "$plugin" | sed 's|.*/||' | sort -u))
  if [[ -z $foreign ]]; then cp -L "$plugin" "$out$system/openmpi/lib/openmpi3/"; fi
done
for library in "${libraries[@]}"; do cp -L "$library" "$out/lib/$(basename "$library")"; done
find "$out" -name '*.so*' -type f -exec strip --strip-unneeded {} + 2>/dev/null || true

# --- what is run and read
mkdir -p "$out/ci" "$out/baselines"
cp ci/gpu_check.sh ci/common.sh ci/mpi.env "$out/ci/"
cp -r cases "$out/"
cp -r baselines/published "$out/baselines/"
mkdir -p "$out/baselines/peers"
cp baselines/peers/gpu_peers.py "$out/baselines/peers/"
{ git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown; } >"$out/COMMIT"
sed "s|@SYSTEM@|${system#/}|" >"$out/env.sh" <<'ENV'
# Sourced by bash: ringside and mpirun of this folder, wherever it lies. NCCL and cuBLAS are the machine's own: what the
# loader does not find is looked for where CUDA usually is, then among the packages of python3.
bundle=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH=$bundle/bin:$bundle/usr/bin:$PATH
export OPAL_PREFIX=$bundle/usr PMIX_INSTALL_PREFIX=$bundle/@SYSTEM@/pmix2
export OMPI_MCA_plm=isolated OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader OMPI_MCA_btl_vader_single_copy_mechanism=none
set -a; source "$bundle/ci/mpi.env"; set +a
export LD_LIBRARY_PATH=$bundle/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
bundle_find() { # LIBRARY: adds the folder that has it to LD_LIBRARY_PATH, unless the loader knows it
  local place
  [[ $(PATH=$PATH:/sbin ldconfig -p 2>/dev/null) != *"$1 "* ]] || return 0
  for place in ${LD_LIBRARY_PATH//:/ } "${CUDA_PATH:-/usr/local/cuda}/lib64" /usr/local/cuda/targets/x86_64-linux/lib \
    "${NCCL_HOME:-/usr}/lib" $(python3 -c 'import site
for folder in site.getsitepackages():
    print(folder + "/nvidia/nccl/lib", folder + "/nvidia/cu13/lib", folder + "/nvidia/cublas/lib")' 2>/dev/null); do
    if [[ -e $place/$1 ]]; then
      [[ :$LD_LIBRARY_PATH: == *:"$place":* ]] || LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$place
      return 0
    fi
  done
  echo "env.sh: $1 is nowhere; what needs it will say so" >&2
}
@LOOKED_FOR@
ENV
# Both are opened by name when they are needed.
looked_for=$(grep -aohE 'lib(cublas|nccl)\.so\.[0-9]+' "$out/bin/ringside" | sort -u | sed 's/^/bundle_find /' || true)
awk -v lines="$looked_for" '$0 == "@LOOKED_FOR@" { print lines; next } { print }' "$out/env.sh" >"$out/env.new"
mv "$out/env.new" "$out/env.sh"

# --- how much it is
packed=$(tar -C "$out" -cz . | wc -c)
echo "$out: $(du -sm "$out" | cut -f 1) MiB, packed (tar.gz) $((packed / 1024 / 1024)).$((packed * 10 / 1024 / 1024 % 10)) MiB"
if ((packed >= 48 * 1024 * 1024)); then
  echo "bundle.sh: more than 48 MiB" >&2
  exit 1
fi
