// What every machine of simt/machine.h must do: tests that hold what its functions do (test_machine_probes.h)
// against plain definitions. A program instantiates the suite for its machine with a bench:
//   static std::optional<std::string> unavailable()   why there is no such machine here, if there is none
//   launcher()                                        simt/launch.h
//   read(array, count)                                the array's content, after all that was launched
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "kernels/test_machine_probes.h"
#include "reference/dtype.h"

namespace ringside::test_machine {

template <typename Bench>
class Machine : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = Bench::unavailable()) GTEST_SKIP() << *why;
    bench_.emplace();
  }

  /// What a kernel writes into `count` elements of memory that begins as `before`.
  template <typename T, typename Make>
  std::vector<T> run(const Make& make, const std::vector<T>& before, Index blocks = 1,
                     std::size_t shared_bytes = 0) {
    auto& on = bench_->launcher();
    const auto out = on.upload(std::span(before));
    on.launch(make(out.data()), blocks, shared_bytes);
    return bench_->read(out, std::ssize(before));
  }
  auto upload(const std::vector<float>& values) { return bench_->launcher().upload(std::span(values)); }

  /// [16, 8] + [16, depth] · [depth, 8].
  template <typename Kind>
  std::vector<float> product(const std::vector<float>& a, const std::vector<float>& b,
                             const std::vector<float>& c) {
    const auto left = upload(a), right = upload(b);
    return run<float>([&](float* out) { return ProductProbe<Kind>{left.data(), right.data(), out}; }, c);
  }

  /// Errors of at most `slack` units in the last place of |a|·|b| + |c|, the operands being what `Kind` takes
  /// as they are.
  template <typename Kind>
  void expect_product(const std::vector<float>& a, const std::vector<float>& b, double slack) {
    constexpr int kDepth = ProductProbe<Kind>::kDepth;
    const std::vector<float> c(16 * 8, 1);
    const std::vector<float> got = product<Kind>(a, b, c);
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 8; ++j) {
        double sum = 1, size = 1;
        for (int k = 0; k < kDepth; ++k) {
          const double term = static_cast<double>(a[static_cast<std::size_t>(i * kDepth + k)]) *
                              static_cast<double>(b[static_cast<std::size_t>(k * 8 + j)]);
          sum += term;
          size += std::fabs(term);
        }
        EXPECT_NEAR(static_cast<double>(got[static_cast<std::size_t>(8 * i + j)]), sum,
                    slack * 0x1p-23 * size)
            << i << " " << j;
      }
    }
  }

  /// The largest error of f in units in the last place, over results that are normal numbers.
  template <Function kFunction>
  void expect_function(const std::vector<float>& in, double (*truth)(double), double units) {
    const auto from = upload(in);
    const std::vector<float> got = run<float>(
        [&](float* out) {
          return FunctionProbe<kFunction>{std::ssize(in), from.data(), out};
        },
        std::vector<float>(in.size()), 20);
    double worst = 0;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const double exact = truth(static_cast<double>(in[i]));
      if (std::fabs(exact) < 0x1p-126 || std::fabs(exact) > 0x1.fffffep127) continue;
      const double error =
          std::fabs(static_cast<double>(got[i]) - exact) / std::ldexp(1.0, std::ilogb(exact) - 23);
      EXPECT_LE(error, units) << "of " << in[i];
      worst = std::max(worst, error);
    }
    this->RecordProperty("ulp", std::to_string(worst));
    std::printf("largest error %.3f ulp, limit %.1f\n", worst, units);
  }
  template <Function kFunction>
  float value(float x) {
    const auto from = upload({x});
    return run<float>([&](float* out) { return FunctionProbe<kFunction>{1, from.data(), out}; }, {-1})[0];
  }

 private:
  std::optional<Bench> bench_;
};
TYPED_TEST_SUITE_P(Machine);

TYPED_TEST_P(Machine, NumbersItsThreads) {
  const auto got =
      this->template run<float>([](float* out) { return NumberProbe{out}; }, std::vector<float>(288), 3);
  for (std::size_t i = 0; i < 288; ++i) EXPECT_EQ(got[i], static_cast<float>(3000 + 100 * (i / 96) + i % 96));
}

TYPED_TEST_P(Machine, ShufflesWithinWarps) {
  for (const int mask : {1, 2, 5, 16, 31}) {
    const auto got = this->template run<float>(
        [&](float* out) {
          return ShuffleProbe{mask, out};
        },
        std::vector<float>(64));
    for (int i = 0; i < 64; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], static_cast<float>(i ^ mask));
  }
}

TYPED_TEST_P(Machine, BarriersShowWhatOthersWrote) {
  const auto got = this->template run<float>([](float* out) { return BarrierProbe{out}; },
                                             std::vector<float>(256), 1, 128 * sizeof(float));
  for (int i = 0; i < 128; ++i) {
    EXPECT_EQ(got[static_cast<std::size_t>(i)], 127 * 64);
    EXPECT_EQ(got[static_cast<std::size_t>(128 + i)], static_cast<float>(-(i ^ 31)));
  }
}

TYPED_TEST_P(Machine, CopiesAreThereWhenWaitedForAndZeroWhereNotValid) {
  std::vector<float> values(64 * 8);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
  const auto in = this->upload(values);
  const auto got = this->template run<float>(
      [&](float* out) {
        return CopyProbe{in.data(), out};
      },
      std::vector<float>(values.size(), -1), 1, values.size() * sizeof(float));
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(got[i], i / 8 % 3 == 0 ? 0 : values[i]) << i;
}

// Small integers: every product and sum is exact.
TYPED_TEST_P(Machine, ProductsHaveTheFragmentsOfPtx) {
  for (const int depth : {16, 8}) {
    std::vector<float> a, b;
    for (int i = 0; i < 16; ++i) {
      for (int k = 0; k < depth; ++k) a.push_back(static_cast<float>(i - 3 * k % 7));
    }
    for (int k = 0; k < depth; ++k) {
      for (int j = 0; j < 8; ++j) b.push_back(static_cast<float>(2 * j - k));
    }
    if (depth == 16) this->template expect_product<Bf16>(a, b, 0);
    if (depth == 8) this->template expect_product<Tf32>(a, b, 0);
  }
}

// The products of bf16 and of tf32 are exact in fp32 (16 and 22 bits). A tensor core brings them and c to the
// exponent of the largest and cuts off what does not fit: for each of at most 17 terms at most one unit in
// the last place of the largest, and one for the result.
TYPED_TEST_P(Machine, ProductsSumInFp32) {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  const auto random = [&](int count, std::uint32_t keep) {
    std::vector<float> values;
    for (int i = 0; i < count; ++i) {
      values.push_back(std::bit_cast<float>(std::bit_cast<std::uint32_t>(normal(generator)) & keep));
    }
    return values;
  };
  for (int round = 0; round < 20; ++round) {
    this->template expect_product<Bf16>(random(16 * 16, 0xffff0000u), random(16 * 8, 0xffff0000u), 18);
    this->template expect_product<Tf32>(random(16 * 8, 0xffffe000u), random(8 * 8, 0xffffe000u), 10);
  }
}

TYPED_TEST_P(Machine, Tf32IgnoresTheLast13Bits) {
  std::vector<float> a(16 * 8), b(8 * 8);
  a[0] = 1 + 0x1p-11f + 0x1p-23f;  // beyond the 10 bits, more than half of the last
  a[8] = 1 + 0x1p-10f;
  b[0] = 1;
  const auto got = this->template product<Tf32>(a, b, std::vector<float>(16 * 8));
  EXPECT_EQ(got[0], 1);
  EXPECT_EQ(got[8], 1 + 0x1p-10f);
}

TYPED_TEST_P(Machine, MatricesAreLoadedAsFragments) {
  for (const bool transposed : {false, true}) {
    const auto got = this->template run<std::uint32_t>(
        [&](std::uint32_t* out) {
          return MatricesProbe{transposed, out};
        },
        std::vector<std::uint32_t>(128), 1, 4 * 8 * 16);
    for (std::uint32_t lane = 0; lane < 32; ++lane) {
      const std::uint32_t g = lane / 4, t = lane % 4;
      for (std::uint32_t m = 0; m < 4; ++m) {
        for (std::uint32_t i = 0; i < 2; ++i) {
          const std::uint32_t row = transposed ? 2 * t + i : g, col = transposed ? g : 2 * t + i;
          EXPECT_EQ(got[4 * lane + m] >> (16 * i) & 0xffffu, 64 * m + 8 * row + col);
        }
      }
    }
  }
}

TYPED_TEST_P(Machine, PacksToTheNearestBf16) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> values = {0,           -0.0f,         1,          1 + 0x1p-8f, 1 + 0x3p-8f,
                               0x1p-130f,   -0x1p-149f,    kInfinity,  -kInfinity,  0x1.fffffep127f,
                               0x1.fep127f, std::nanf(""), 0x1.ffp127f};
  std::mt19937 generator(2);
  std::normal_distribution<float> normal;
  while (values.size() < 1000) values.push_back(normal(generator));
  const auto in = this->upload(values);
  const auto got = this->template run<std::uint32_t>(
      [&](std::uint32_t* out) {
        return PackProbe{std::ssize(values) / 2, in.data(), out};
      },
      std::vector<std::uint32_t>(values.size() / 2));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto bits = static_cast<std::uint16_t>(got[i / 2] >> (16 * (i % 2)) & 0xffffu);
    if (std::isnan(values[i])) {
      EXPECT_TRUE(std::isnan(to_float(BFloat16{bits})));
    } else {
      EXPECT_EQ(bits, to_bf16(values[i]).bits) << values[i];
    }
  }
}

/// `count` numbers from a to b.
inline std::vector<float> between(float a, float b, int count) {
  std::vector<float> values;
  for (int i = 0; i < count; ++i)
    values.push_back(a + (b - a) * static_cast<float>(i) / static_cast<float>(count - 1));
  return values;
}

// Limits are what CUDA's manuals state as the largest error against the correctly rounded result, and half a
// unit for that.
TYPED_TEST_P(Machine, Exp2IsFast) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  this->template expect_function<Function::exp2>(between(-126, 127.99f, 100'003), std::exp2, 2.5);
  this->template expect_function<Function::exp2>(between(-1, 0, 10'007), std::exp2, 2.5);
  EXPECT_EQ(this->template value<Function::exp2>(-kInfinity), 0);
  EXPECT_EQ(this->template value<Function::exp2>(0), 1);
}

TYPED_TEST_P(Machine, ExpIsAccurate) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  this->template expect_function<Function::exp>(between(-87.3f, 88.7f, 100'003), std::exp, 2.5);
  EXPECT_EQ(this->template value<Function::exp>(-kInfinity), 0);
  EXPECT_EQ(this->template value<Function::exp>(0), 1);
}

TYPED_TEST_P(Machine, LogIsAccurate) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> values = between(0.5f, 2, 20'011);
  for (int e = -126; e < 128; ++e) {
    for (const float x : {1.0f, 1.2345678f, 1.7654321f}) values.push_back(std::ldexp(x, e));
  }
  this->template expect_function<Function::log>(values, std::log, 1.5);
  EXPECT_EQ(this->template value<Function::log>(0), -kInfinity);
  EXPECT_EQ(this->template value<Function::log>(1), 0);
}

REGISTER_TYPED_TEST_SUITE_P(Machine, NumbersItsThreads, ShufflesWithinWarps, BarriersShowWhatOthersWrote,
                            CopiesAreThereWhenWaitedForAndZeroWhereNotValid, ProductsHaveTheFragmentsOfPtx,
                            ProductsSumInFp32, Tf32IgnoresTheLast13Bits, MatricesAreLoadedAsFragments,
                            PacksToTheNearestBf16, Exp2IsFast, ExpIsAccurate, LogIsAccurate);

}  // namespace ringside::test_machine
