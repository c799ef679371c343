// Instructions that a build may use and a CPU may lack.
#pragma once

#include <cstddef>

/// X(NAME, MACRO): what a CPU says that it has, and what the compiler defines as 1 where it uses that. Not
/// every extension there is: each CPU without one that is missing here lacks another of them.
// clang-format off
#define RINGSIDE_CPU_FEATURES(X)                                                                            \
  X("sse4.2", __SSE4_2__) X("popcnt", __POPCNT__) X("avx", __AVX__) X("avx2", __AVX2__) X("fma", __FMA__)   \
  X("bmi", __BMI__) X("bmi2", __BMI2__) X("fma4", __FMA4__) X("xop", __XOP__) X("avx512f", __AVX512F__)     \
  X("avx512bw", __AVX512BW__) X("avx512dq", __AVX512DQ__) X("avx512vl", __AVX512VL__)                       \
  X("avx512cd", __AVX512CD__) X("avx512ifma", __AVX512IFMA__) X("avx512vbmi", __AVX512VBMI__)               \
  X("avx512vbmi2", __AVX512VBMI2__) X("avx512vnni", __AVX512VNNI__) X("avx512bitalg", __AVX512BITALG__)     \
  X("avx512vpopcntdq", __AVX512VPOPCNTDQ__) X("avx512bf16", __AVX512BF16__) X("gfni", __GFNI__)             \
  RINGSIDE_FEATURES_OF_GCC(X)
#ifdef __clang__  // does not know how to ask for them
#define RINGSIDE_FEATURES_OF_GCC(X)
#else
#define RINGSIDE_FEATURES_OF_GCC(X)                                                                         \
  X("f16c", __F16C__) X("lzcnt", __LZCNT__) X("movbe", __MOVBE__) X("vaes", __VAES__)                       \
  X("vpclmulqdq", __VPCLMULQDQ__) X("avxvnni", __AVXVNNI__) X("avx512fp16", __AVX512FP16__)
#endif
// clang-format on

namespace ringside {

#define RINGSIDE_COUNT(name, macro) +1
inline constexpr std::size_t kCpuFeatures = RINGSIDE_CPU_FEATURES(RINGSIDE_COUNT);
#undef RINGSIDE_COUNT

/// Which of them this program was compiled for.
extern const bool cpu_needs[kCpuFeatures];

}  // namespace ringside
