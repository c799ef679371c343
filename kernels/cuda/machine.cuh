// The machine of gpu/machine.h that nvcc compiles kernels for: sm_80 and newer.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gpu/machine.h"
#include "reference/view.h"

namespace ringside {

struct Gpu {
  static RINGSIDE_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
  static RINGSIDE_DEVICE Index block() { return blockIdx.x; }
  static RINGSIDE_DEVICE Index blocks() { return gridDim.x; }

  static RINGSIDE_DEVICE std::byte* shared() {
    extern __shared__ __align__(128) unsigned char ringside_shared_memory[];
    return reinterpret_cast<std::byte*>(ringside_shared_memory);
  }
  static RINGSIDE_DEVICE void sync() { __syncthreads(); }
  static RINGSIDE_DEVICE void sync_warp() { __syncwarp(); }

  template <typename T>
  static RINGSIDE_DEVICE T shuffle_xor(T x, int mask) {
    return __shfl_xor_sync(0xffffffffu, x, mask);
  }

  static RINGSIDE_DEVICE void copy_async(void* to, const void* from, bool valid) {
    const int bytes = valid ? 16 : 0;  // what is read; the rest of the 16 is zeros
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(__cvta_generic_to_global(from)), "r"(bytes)
                 : "memory");
  }
  static RINGSIDE_DEVICE void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int N>
  static RINGSIDE_DEVICE void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
  }

  /// c: [16, 8] += a: [16, 16] · b: [16, 8]; two elements a register.
  static RINGSIDE_DEVICE void multiply(float (&c)[4], const std::uint32_t (&a)[4],
                                       const std::uint32_t (&b)[2], Bf16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
  /// c: [16, 8] += a: [16, 8] · b: [8, 8]; a register holds an fp32, whose last 13 bits are ignored.
  static RINGSIDE_DEVICE void multiply(float (&c)[4], const std::uint32_t (&a)[4],
                                       const std::uint32_t (&b)[2], Tf32) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }

  static RINGSIDE_DEVICE void load_matrices(std::uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  }
  static RINGSIDE_DEVICE void load_matrices_transposed(std::uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  }

  static RINGSIDE_DEVICE std::uint32_t pack_bf16(float low, float high) {
    std::uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
  }
  /// Within 2 ulp (PTX ISA, ex2.approx); 0 below the smallest normal number, as in exp.h, which costs less.
  static RINGSIDE_DEVICE float exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
  static RINGSIDE_DEVICE float exp(float x) { return ::expf(x); }
  static RINGSIDE_DEVICE float log(float x) { return ::logf(x); }

 private:
  static RINGSIDE_DEVICE std::uint32_t shared_address(const void* p) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
  }
};

template <typename Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, 1) run_kernel(const __grid_constant__ Kernel kernel) {
  kernel.template run<Gpu>();
}

}  // namespace ringside
