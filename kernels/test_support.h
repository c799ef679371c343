// Tensors of chosen values, and comparisons with double loops, for kernel tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cpu/memory_rows.h"
#include "kernels/device.h"

namespace ringside {

/// A [batch, heads, tokens, dim] array of doubles, and the tensor of the same values on a device.
struct Array {
  Shape shape;
  std::vector<double> values;

  explicit Array(const Shape& s) : shape(s), values(static_cast<std::size_t>(s.size())) {}
  double& at(Index b, Index h, Index t, Index i) { return values[offset(b, h, t, i)]; }
  double at(Index b, Index h, Index t, Index i) const { return values[offset(b, h, t, i)]; }

 private:
  std::size_t offset(Index b, Index h, Index t, Index i) const {
    return static_cast<std::size_t>(((b * shape.heads + h) * shape.tokens + t) * shape.dim + i);
  }
};

/// Standard normal values times `deviation`, rounded to `dtype`.
inline Array random_array(const Shape& shape, DType dtype, unsigned seed, float deviation = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, deviation);
  Array result(shape);
  for (double& x : result.values) {
    const float value = normal(generator);
    x = static_cast<double>(rounded_to(dtype, value));
  }
  return result;
}

inline Tensor to_device(Device& device, const Array& x, DType dtype) {
  const Tensor result = device.allocate(x.shape, dtype);
  std::vector<std::byte> host(result.size_bytes());
  with_storage(host.data(), dtype, [&]<typename T>(T* data) {
    for (const double value : x.values) *data++ = from_float<T>(static_cast<float>(value));
  });
  device.upload(host, result);
  return result;
}

inline Array from_device(const Tensor& x) {
  Array result(x.shape());
  std::vector<std::byte> host(x.size_bytes());
  if (x) x.device().download(x, host);
  with_storage(host.data(), x.dtype(), [&](const auto* data) {
    for (double& value : result.values) value = static_cast<double>(to_float(*data++));
  });
  return result;
}

/// The devices that can be used here: tests of operations run on each. The thread sanitizer cannot follow the
/// fibers of the emulated GPU.
inline std::vector<DeviceEntry> test_devices() {
#if defined(__SANITIZE_THREAD__)
  constexpr bool kFibers = false;
#else
  constexpr bool kFibers = true;
#endif
  std::vector<DeviceEntry> all = devices();
  std::erase_if(all, [](const DeviceEntry& entry) {
    return entry.unavailable.has_value() || (!kFibers && entry.name == "emulated");
  });
  return all;
}

inline std::string name_of_device(const testing::TestParamInfo<DeviceEntry>& info) {
  return std::string(info.param.name);
}

/// A test's name: device, case, dtype.
template <typename Case>
std::string name_of(const testing::TestParamInfo<std::tuple<DeviceEntry, Case, DType>>& info) {
  const auto& [entry, c, dtype] = info.param;
  return std::string(entry.name) + "_" + c.name + "_" + std::string(to_string(dtype));
}

/// Why a device does not compute heads of these dims, if it does not.
inline std::optional<std::string> unsupported(const DeviceEntry& entry, Index head_dim, Index value_dim,
                                              DType dtype, Math math) {
  Problem problem;
  problem.head_dim = head_dim;
  problem.value_dim = value_dim;
  return entry.unsupported(problem, dtype, math);
}

/// The part [first, first + count) of the tokens.
inline Array slice(const Array& x, Index first, Index count) {
  Array result({x.shape.batch, x.shape.heads, count, x.shape.dim});
  for (Index b = 0; b < x.shape.batch; ++b) {
    for (Index h = 0; h < x.shape.heads; ++h) {
      for (Index t = 0; t < count; ++t) {
        for (Index i = 0; i < x.shape.dim; ++i) result.at(b, h, t, i) = x.at(b, h, first + t, i);
      }
    }
  }
  return result;
}

/// A value in exact arithmetic and the sum of the magnitudes of the terms that made it.
struct Reference {
  explicit Reference(const Shape& shape) : value(shape), magnitude(shape) {}
  Array value, magnitude;

  void add(Index b, Index h, Index t, Index i, double term, double term_magnitude) {
    value.at(b, h, t, i) += term;
    magnitude.at(b, h, t, i) += term_magnitude;
  }
};

/// Every element within 2^-24 times its magnitude, plus one rounding to its storage type and the
/// smallest normal number (what flush-to-zero may lose). NaN fails. The magnitudes that the references
/// compute follow one rule: a sum of len rounded terms errs by about √len·2^-24·Σ|terms| (errors of random
/// sign), and an error in a factor counts in full. Σ|terms| exceeds the
/// terms' root mean square times √len by far enough to cover the tail.
inline void expect_close(const Tensor& actual, const Reference& expected, const char* what) {
  ASSERT_EQ(actual.shape(), expected.value.shape) << what;
  const Array got = from_device(actual);
  const double storage = actual.dtype() == DType::fp32 ? 0 : unit_roundoff(actual.dtype());
  Index failures = 0;
  for (std::size_t i = 0; i < got.values.size(); ++i) {
    const double truth = expected.value.values[i];
    if (got.values[i] == truth) continue;  // equal infinities have no difference
    const double computed = unit_roundoff(DType::fp32) * expected.magnitude.values[i];
    const double bound = computed +
                         storage * (std::max(std::fabs(truth), smallest_normal(actual.dtype())) + computed) +
                         kSmallestNormal;
    if (std::fabs(got.values[i] - truth) <= bound) continue;
    if (++failures <= 3) {
      ADD_FAILURE() << what << " element " << i << ": " << got.values[i] << " for " << truth << ", bound "
                    << bound;
    }
  }
  EXPECT_EQ(failures, 0) << what;
}

inline std::vector<std::byte> bytes_of(const Tensor& x) {
  std::vector<std::byte> host(x.size_bytes());
  x.device().download(x, host);
  return host;
}

inline void expect_same_bits(const Tensor& a, const Tensor& b, const char* what) {
  EXPECT_TRUE(bytes_of(a) == bytes_of(b)) << what;
}

}  // namespace ringside
