// The machine interface of GPU kernels: threads, memory, primitives.
//
// A kernel is a value: a trivially copyable struct that holds its arguments, with
//   static constexpr int kThreads                    threads of a block
//   template <typename Machine> void run() const     what each thread does
// and is compiled twice: by nvcc for cuda/machine.cuh, and by the host's compiler for emulated/machine.h,
// which runs it thread by thread, so that every kernel can be judged without a GPU. Whoever launches one
// gives it the number of blocks and the bytes of shared memory.
//
// A machine has, all static:
//   thread(), block(), blocks()   the thread's number in its block (int), its block's, all blocks' (Index)
//   shared()                      the block's shared memory, 128-byte aligned
//   sync(), sync_warp()           barriers of a block, of a warp, for what was written to shared memory
//   shuffle_xor(x, mask)          x of the thread of the warp whose lane differs in these bits (float)
//   copy_async(to, from, valid)   16 bytes, global -> shared, beside what the thread does; zeros unless valid
//   commit(), wait_copies<N>()    ends a group of the thread's copies; waits for all groups but the last N
//   multiply(c, a, b, Bf16{})     a warp's tensor-core product of fragments (product.h), fp32 sums; or Tf32{}
//   load_matrices(r, row)         four 8x8 matrices of 16-bit elements from shared memory as fragments; lane
//   load_matrices_transposed      l gives the address of row l % 8 of matrix l / 8
//   pack_bf16(low, high)          two floats rounded to bf16, as one register
//   exp2(x), exp(x), log(x)       of a float: fast, e^x within an ulp, accurate
#pragma once

// RINGSIDE_DEVICE marks what kernels call: functions that nvcc compiles for the GPU. The others are for
// loops: all iterations written out, as they index registers; two at a time; none, as they need many
// registers.
#if defined(__CUDACC__)
#define RINGSIDE_DEVICE __device__ __forceinline__
#define RINGSIDE_UNROLL _Pragma("unroll")
#define RINGSIDE_UNROLL_TWICE _Pragma("unroll 2")
#define RINGSIDE_ROLLED _Pragma("unroll 1")
#else
#define RINGSIDE_DEVICE inline
#define RINGSIDE_UNROLL
#define RINGSIDE_UNROLL_TWICE
#define RINGSIDE_ROLLED
#endif

namespace ringside {

/// What the operands of a tensor-core product are rounded to.
struct Bf16 {};
struct Tf32 {};

}  // namespace ringside
