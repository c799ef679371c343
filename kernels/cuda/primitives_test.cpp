// The operations of a machine: a GPU's, where there is one, and the emulated one's, each against the PTX
// manual.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/cuda/entry.h"
#include "kernels/cuda/test_primitives.h"
#include "kernels/emulated/launcher.h"

namespace ringside {
namespace {

template <typename Kernel>
std::vector<float> run_emulated(Kernel kernel, std::span<const float> in) {
  EmulatedLauncher launcher;
  const auto given = launcher.upload(in);
  const auto out = launcher.scratch<float>(Kernel::kThreads * Kernel::kResults);
  kernel.in = given.data();
  kernel.out = out.data();
  launcher.launch(kernel, 1, Kernel::kShared);
  return {out.data(), out.data() + Kernel::kThreads * Kernel::kResults};
}

class Primitives : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    const auto reason = cuda_entry().unavailable;
    if (GetParam() && reason) GTEST_SKIP() << "cuda: " << *reason;
  }

  template <typename Kernel>
  std::vector<float> run(std::span<const float> in) const {
    return GetParam() ? run_on_gpu(Kernel{}, in) : run_emulated(Kernel{}, in);
  }

  static std::vector<float> numbers(std::size_t count) {
    std::vector<float> in(count);
    for (std::size_t i = 0; i < count; ++i) in[i] = static_cast<float>(i) + 1;
    return in;
  }
};
INSTANTIATE_TEST_SUITE_P(Machines, Primitives, testing::Bool(),
                         [](const auto& of) { return of.param ? "gpu" : "emulated"; });

TEST_P(Primitives, Shuffle) {
  const auto got = run<ShuffleValues>(numbers(64));
  for (std::size_t thread = 0; thread < 64; ++thread) {
    for (std::size_t i = 0; i < 6; ++i) {
      const std::size_t other = thread ^ (i < 5 ? std::size_t{1} << i : 31);
      EXPECT_EQ(got[thread * 6 + i], static_cast<float>(other + 1));
    }
  }
}

TEST_P(Primitives, BarriersAndSharedMemory) {
  const auto got = run<PassAround>(numbers(64));
  for (std::size_t thread = 0; thread < 64; ++thread)
    EXPECT_EQ(got[thread], static_cast<float>((thread + 1) % 64 + 1));
}

TEST_P(Primitives, CopiesBesideTheThreads) {
  const auto got = run<CopyValues>(numbers(256));
  for (std::size_t thread = 0; thread < 64; ++thread) {
    for (std::size_t i = 0; i < 8; ++i)
      EXPECT_EQ(got[thread * 8 + i], i < 4 ? static_cast<float>(thread * 4 + i + 1) : 0.0f);
  }
}

/// Small integers, whose products and sums are exact in every type.
template <typename Kernel>
void expect_product(const std::vector<float>& in, const std::vector<float>& got, std::size_t depth) {
  for (std::size_t thread = 0; thread < 64; ++thread) {
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t row = thread % 32 / 4 + 8 * (i / 2), col = 2 * (thread % 4) + i % 2;
      float expected = 1;
      for (std::size_t k = 0; k < depth; ++k) expected += in[row * depth + k] * in[16 * depth + k * 8 + col];
      EXPECT_EQ(got[thread * 4 + i], expected) << row << " " << col;
    }
  }
}
std::vector<float> small_integers(std::size_t count) {
  std::vector<float> in(count);
  for (std::size_t i = 0; i < count; ++i) in[i] = static_cast<float>(i * i % 23) - 11;
  return in;
}

TEST_P(Primitives, ProductsOfBf16) {
  const auto in = small_integers(24 * 16);
  expect_product<MultiplyBf16>(in, run<MultiplyBf16>(in), 16);
}

TEST_P(Primitives, ProductsOfTf32) {
  const auto in = small_integers(24 * 8);
  expect_product<MultiplyTf32>(in, run<MultiplyTf32>(in), 8);
}

TEST_P(Primitives, Tf32DropsTheLastBits) {
  std::vector<float> in(24 * 8);
  in[0] = 1 + 0x1.ffcp-11f;  // all but the last bit of what TF32 has not
  in[16 * 8] = 1;
  const auto got = run<MultiplyTf32>(in);
  EXPECT_EQ(got[0], 2);
}

TEST_P(Primitives, StandardAdvance) {
  const auto got = run<StandardAdvance>(numbers(65));
  for (std::size_t thread = 0; thread < 64; ++thread) EXPECT_EQ(got[thread], static_cast<float>(thread + 2));
}

TEST_P(Primitives, MatricesAsFragments) {
  const auto plain = run<LoadMatrices<false>>(numbers(4)), transposed = run<LoadMatrices<true>>(numbers(4));
  for (std::size_t thread = 0; thread < 64; ++thread) {
    const std::size_t g = thread % 32 / 4, t = thread % 4;
    for (std::size_t i = 0; i < 8; ++i) {
      const std::size_t matrix = 64 * (i / 2), along = 2 * t + i % 2;
      EXPECT_EQ(plain[thread * 8 + i], static_cast<float>(matrix + 8 * g + along));
      EXPECT_EQ(transposed[thread * 8 + i], static_cast<float>(matrix + 8 * along + g));
    }
  }
}

/// Within `ulps` places of the last bit of the truth, rounded; denormals may be 0.
void expect_near(float got, double truth, double ulps, float x) {
  const auto rounded = static_cast<float>(truth);
  if (!std::isfinite(rounded) || rounded == 0) {
    EXPECT_TRUE(got == rounded || (std::isnan(got) && std::isnan(rounded))) << x << ": " << got;
    return;
  }
  const double place =
      std::max(std::ldexp(1.0, std::ilogb(truth) - 23), double{std::numeric_limits<float>::min()});
  EXPECT_LE(std::fabs(got - truth), ulps * place) << x << ": " << got;
}

// CUDA's manual gives expf and logf 1 ulp, PTX's ex2.approx 2^-22 relative: 2 ulp. Rounding is half an ulp
// besides.
TEST_P(Primitives, Functions) {
  std::vector<float> in{0.0f, -0.0f, 1, -1, 88, -87, 126, -126, 1e-20f, 0x1p-126f, 0.5f, 2, 1e30f};
  for (const float special :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    in.push_back(special);
    in.push_back(-special);
  }
  while (in.size() < 64) in.push_back((static_cast<float>(in.size()) - 40) * 1.7320508f);
  const auto got = run<Functions>(in);
  for (std::size_t i = 0; i < 64; ++i) {
    const double x = in[i];
    expect_near(got[5 * i], std::exp2(x), 2.5, in[i]);
    expect_near(got[5 * i + 1], std::exp(x), 1.5, in[i]);
    expect_near(got[5 * i + 2], std::log(x), 1.5, in[i]);
    const float narrow = rounded_to(DType::bf16, in[i]);
    for (const std::size_t half : {3, 4}) {
      const float rounded = got[5 * i + half];
      EXPECT_TRUE(rounded == narrow || (std::isnan(rounded) && std::isnan(narrow))) << x << ": " << rounded;
    }
  }
}

}  // namespace
}  // namespace ringside
