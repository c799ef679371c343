// Operations that are one pass over memory, on every device: plain loops and hostile values.
#include <algorithm>
#include <bit>
#include <limits>

#include "kernels/gpu/guards.h"
#include "kernels/test_support.h"

namespace ringside {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kU = 0x1p-24;
const std::vector<float> kHostile{0.0f,     -0.0f,     1,          kInf,
                                  -kInf,    kNaN,      0x1p-130f,  65519.0f,
                                  65520.0f, -0x1p-25f, 0x1.01p-8f, std::numeric_limits<float>::max()};

/// As to_device(), of floats, whatever they are.
Tensor tensor_of(Device& device, const Shape& shape, std::span<const float> values,
                 DType dtype = DType::fp32) {
  const Tensor x = device.allocate(shape, dtype);
  std::vector<std::byte> host(x.size_bytes());
  with_storage(host.data(), dtype, [&]<typename T>(T* data) {
    for (const float value : values) *data++ = from_float<T>(value);
  });
  device.upload(host, x);
  return x;
}

/// The tensor's stored elements, as bits.
std::vector<std::uint32_t> bits_of(const Tensor& x) {
  std::vector<std::byte> host(x.size_bytes());
  x.device().download(x, host);
  std::vector<std::uint32_t> bits;
  with_storage(host.data(), x.dtype(), [&]<typename T>(T* data) {
    for (Index i = 0; i < x.shape().size(); ++i) {
      if constexpr (sizeof(T) == 2) {
        bits.push_back(data[i].bits);
      } else {
        bits.push_back(std::bit_cast<std::uint32_t>(data[i]));
      }
    }
  });
  return bits;
}

class Elementwise : public testing::TestWithParam<DeviceEntry> {
 protected:
  std::unique_ptr<Device> device_ = GetParam().make({.poison = true});
};
INSTANTIATE_TEST_SUITE_P(Devices, Elementwise, testing::ValuesIn(test_devices()), name_of_device);

TEST_P(Elementwise, FillsAndCopiesWhateverIsThere) {
  const Shape shape{1, 2, 3, 2};
  ASSERT_EQ(shape.size(), std::ssize(kHostile));
  for (const DType from_type : kDTypes) {
    const Tensor from = tensor_of(*device_, shape, kHostile, from_type);
    for (const DType to_type : kDTypes) {
      const Tensor to = device_->allocate(shape, to_type), direct = device_->allocate(shape, to_type);
      device_->copy(from, to);
      std::vector<float> twice;
      for (const float x : kHostile) twice.push_back(rounded_to(from_type, x));
      EXPECT_EQ(bits_of(to), bits_of(tensor_of(*device_, shape, twice, to_type)))
          << to_string(from_type) << " to " << to_string(to_type);
    }
    for (const float value : kHostile) {
      const Tensor filled = device_->allocate({1, 1, 1, 3}, from_type);
      device_->fill(filled, value);
      EXPECT_EQ(bits_of(filled),
                bits_of(tensor_of(*device_, filled.shape(), std::vector(3, value), from_type)));
    }
    device_->fill(device_->allocate({1, 0, 3, 2}, from_type), 1);
    device_->copy(device_->allocate({1, 0, 3, 2}, from_type), device_->allocate({1, 0, 3, 2}, DType::fp32));
  }
}

TEST_P(Elementwise, KeepsTheBitsOfNaN) {
  for (const DType dtype : kDTypes) {
    const Tensor from = device_->allocate({1, 1, 1, 5}, dtype), to = device_->allocate({1, 1, 1, 5}, dtype);
    const std::vector<std::byte> ones(from.size_bytes(), std::byte{0xff});
    device_->upload(ones, from);
    device_->fill(to, 1);
    device_->copy(from, to);
    EXPECT_EQ(bits_of(to), bits_of(from));
  }
}

TEST_P(Elementwise, AddsWhateverIsThere) {
  std::vector<float> a, b, sum;
  for (const float x : kHostile) {
    for (const float y : kHostile) {
      const auto flushed = [](float z) {
        return std::fabs(z) < std::numeric_limits<float>::min() ? 0.0f : z;
      };
      if (flushed(x) != x || flushed(y) != y) continue;  // denormals are a device's own affair
      a.push_back(x);
      b.push_back(y);
      sum.push_back(x + y);
    }
  }
  const Shape shape{1, 1, std::ssize(a), 1};
  const Tensor to = tensor_of(*device_, shape, b);
  device_->add(tensor_of(*device_, shape, a), to);
  const Array got = from_device(to);
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const auto value = static_cast<float>(got.values[i]);
    EXPECT_TRUE(value == sum[i] || (std::isnan(value) && std::isnan(sum[i]))) << a[i] << " + " << b[i];
  }
  device_->add(device_->allocate({0, 1, 3, 2}, DType::fp32), device_->allocate({0, 1, 3, 2}, DType::fp32));
}

TEST_P(Elementwise, CopiesPartsOfAnyWidth) {
  const Index heads = 2, tokens = 3;
  for (const DType dtype : kDTypes) {
    for (const Index dim : {1, 2, 3, 4, 7, 8, 16, 33}) {
      const Array a = random_array({2, 5, 7, dim}, dtype, 1), b = random_array({2, 4, 9, dim}, dtype, 2);
      const Tensor from = to_device(*device_, a, dtype), to = to_device(*device_, b, dtype);
      device_->copy_part(from, {3, 2}, to, {1, 5}, heads, tokens);
      device_->copy_part(from, {5, 7}, to, {4, 9}, 0, 0);
      Array expected = b;
      for (Index n = 0; n < 2; ++n) {
        for (Index h = 0; h < heads; ++h) {
          for (Index t = 0; t < tokens; ++t) {
            for (Index i = 0; i < dim; ++i) expected.at(n, 1 + h, 5 + t, i) = a.at(n, 3 + h, 2 + t, i);
          }
        }
      }
      EXPECT_EQ(from_device(to).values, expected.values) << to_string(dtype) << " dim " << dim;
    }
  }
}

TEST_P(Elementwise, SumsHeadsInOrderInFp32) {
  for (const DType dtype : kDTypes) {
    for (const Index group : {1, 2, 5}) {
      const Array x = random_array({2, 3 * group, 3, 5}, dtype, 7);
      const Tensor sum = device_->allocate({2, 3, 3, 5}, dtype);
      device_->sum_heads(to_device(*device_, x, dtype), sum);
      const Array got = from_device(sum);
      for (Index b = 0; b < 2; ++b) {
        for (Index h = 0; h < 3; ++h) {
          for (Index t = 0; t < 3; ++t) {
            for (Index i = 0; i < 5; ++i) {
              auto expected = static_cast<float>(x.at(b, h * group, t, i));
              for (Index g = 1; g < group; ++g) expected += static_cast<float>(x.at(b, h * group + g, t, i));
              EXPECT_EQ(got.at(b, h, t, i), static_cast<double>(rounded_to(dtype, expected)));
            }
          }
        }
      }
    }
    device_->sum_heads(device_->allocate({1, 4, 0, 5}, dtype), device_->allocate({1, 2, 0, 5}, dtype));
  }
}

// lse = max + log1p(exp(min - max)): the sum's rounding, u·|lse|, and that of what is added, at most ln 2: of
// its argument (the difference's rounding, at most u·d·e^-d <= 0.4u, and an ulp, 2u, of exp) and an ulp of
// log1p: 4u in all. A weight exp(x - lse) errs by the error of its argument, that of lse and the difference's
// rounding, and by an ulp of exp; a merged element by both weights' errors, its products' and its sum's
// rounding. Second-order terms are below a thousandth of that.
TEST_P(Elementwise, MergesPartialResults) {
  const std::vector<float> lses{-kInf, -3.5f, 0, 88, 1000, -1000};
  for (const Index dim : {1, 31, 32, 33, 128}) {
    const Shape shape{1, std::ssize(lses), std::ssize(lses), dim}, rows{1, shape.heads, shape.tokens, 1};
    std::vector<float> lse_a, lse_b;
    for (const float a : lses) {
      for (const float b : lses) {
        lse_a.push_back(a);
        lse_b.push_back(b);
      }
    }
    const Array a = random_array(shape, DType::fp32, 3), b = random_array(shape, DType::fp32, 4);
    const Tensor o = to_device(*device_, a, DType::fp32), lse = tensor_of(*device_, rows, lse_a);
    device_->softmax_merge(to_device(*device_, b, DType::fp32), tensor_of(*device_, rows, lse_b), o, lse);
    const Array got_o = from_device(o), got_lse = from_device(lse);
    for (std::size_t row = 0; row < lse_a.size(); ++row) {
      const double x = lse_a[row], y = lse_b[row], max = std::max(x, y);
      const auto first = row * static_cast<std::size_t>(dim);
      if (max == -kInf) {
        EXPECT_EQ(got_lse.values[row], -kInf);
        for (std::size_t i = 0; i < static_cast<std::size_t>(dim); ++i) EXPECT_EQ(got_o.values[first + i], 0);
        continue;
      }
      const double merged = max + std::log1p(std::exp(std::min(x, y) - max));
      const double lse_error = kU * (std::fabs(merged) + 4);
      EXPECT_LE(std::fabs(got_lse.values[row] - merged), 1.001 * lse_error) << x << " and " << y;
      const auto part = [&](double value, double part_lse) {
        if (part_lse == -kInf) return std::pair{0.0, 0.0};
        const double weight = std::exp(part_lse - merged);
        const double error = std::expm1(lse_error + kU * std::fabs(part_lse - merged)) + 4 * kU;
        return std::pair{value * weight, std::fabs(value) * weight * error};
      };
      for (std::size_t i = first; i < first + static_cast<std::size_t>(dim); ++i) {
        const auto [from_a, error_a] = part(a.values[i], x);
        const auto [from_b, error_b] = part(b.values[i], y);
        EXPECT_LE(std::fabs(got_o.values[i] - (from_a + from_b)),
                  1.001 * (error_a + error_b) + 4 * kSmallestNormal)
            << x << " and " << y;
      }
    }
  }
}

TEST_P(Elementwise, MergeHidesNoNaN) {
  const Shape shape{1, 1, 1, 3}, row{1, 1, 1, 1};
  for (const auto& [a, b] :
       {std::pair{kNaN, 0.0f}, {0.0f, kNaN}, {kNaN, -kInf}, {-kInf, kNaN}, {kNaN, kNaN}}) {
    const Tensor o = device_->allocate(shape, DType::fp32), lse = device_->allocate(row, DType::fp32);
    const Tensor block_o = device_->allocate(shape, DType::fp32),
                 block_lse = device_->allocate(row, DType::fp32);
    device_->fill(o, 1);
    device_->fill(block_o, 1);
    device_->fill(lse, a);
    device_->fill(block_lse, b);
    device_->softmax_merge(block_o, block_lse, o, lse);
    for (const double x : from_device(o).values) EXPECT_TRUE(std::isnan(x)) << a << " and " << b;
    EXPECT_TRUE(std::isnan(from_device(lse).values[0])) << a << " and " << b;
  }
  const Tensor none = device_->allocate({1, 2, 0, 3}, DType::fp32),
               no_lse = device_->allocate({1, 2, 0, 1}, DType::fp32);
  device_->softmax_merge(none, no_lse, none, no_lse);
}

TEST_P(Elementwise, DeltaIsTheRowSum) {
  for (const DType o_type : kDTypes) {
    for (const DType dout_type : kDTypes) {
      for (const Index dim : {1, 5, 32, 33, 128}) {
        const Shape shape{2, 3, 5, dim};
        const Array o = random_array(shape, o_type, 5), dout = random_array(shape, dout_type, 6);
        const Tensor delta = device_->allocate({2, 3, 5, 1}, DType::fp32);
        device_->softmax_delta(to_device(*device_, o, o_type), to_device(*device_, dout, dout_type), delta);
        const Array got = from_device(delta);
        for (std::size_t row = 0; row < got.values.size(); ++row) {
          double sum = 0, magnitude = 0;
          for (std::size_t i = row * static_cast<std::size_t>(dim);
               i < (row + 1) * static_cast<std::size_t>(dim); ++i) {
            sum += o.values[i] * dout.values[i];
            magnitude += std::fabs(o.values[i] * dout.values[i]);
          }
          // dim products and as many additions at most lie above an element
          EXPECT_LE(std::fabs(got.values[row] - sum), 1.001 * static_cast<double>(dim) * kU * magnitude);
        }
      }
    }
  }
}

TEST_P(Elementwise, DecaysScoresOfTheSpanAlone) {
  const std::vector<float> slopes{0, 0.25f, 3};
  for (const TokenSpan span : {kEveryToken, TokenSpan{2, 5}, TokenSpan{3, 3}, TokenSpan{6, 40}}) {
    const Index n = 7;
    const Array x = random_array({2, 3, n, n}, DType::fp32, 8);
    const Tensor scores = to_device(*device_, x, DType::fp32);
    device_->decay_scores(scores, slopes, span);
    Array expected = x;
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 3; ++h) {
        for (Index i = span.first; i < std::min(n, span.end); ++i) {
          for (Index j = span.first; j <= i; ++j) {
            const double decay = std::exp(-static_cast<double>(slopes[static_cast<std::size_t>(h)]) *
                                          static_cast<double>(i - j));
            expected.at(b, h, i, j) =
                static_cast<double>(static_cast<float>(x.at(b, h, i, j)) * static_cast<float>(decay));
          }
        }
      }
    }
    EXPECT_EQ(from_device(scores).values, expected.values);
  }
}

TEST_P(Elementwise, DecaysRowsOfAnyType) {
  const std::vector<float> slopes{0.5f, 0, 1.25f, 40};
  for (const DType dtype : kDTypes) {
    for (const Index heads : {1, 2, 4}) {
      for (const Decay decay : {Decay{0, 1}, Decay{7, -1}, Decay{3, 0}}) {
        const Array x = random_array({2, heads, 7, 33}, dtype, 9);
        const Tensor y = device_->allocate({2, 4, 7, 33}, DType::fp32);
        device_->decay_rows(to_device(*device_, x, dtype), slopes, decay, y);
        const Array got = from_device(y);
        for (Index b = 0; b < 2; ++b) {
          for (Index h = 0; h < 4; ++h) {
            for (Index t = 0; t < 7; ++t) {
              const auto factor =
                  static_cast<float>(std::exp(-static_cast<double>(slopes[static_cast<std::size_t>(h)]) *
                                              static_cast<double>(decay.offset + decay.step * t)));
              for (Index i = 0; i < 33; ++i) {
                const float expected = factor * static_cast<float>(x.at(b, h / (4 / heads), t, i));
                EXPECT_NEAR(got.at(b, h, t, i), static_cast<double>(expected),
                            std::fabs(expected) < std::numeric_limits<float>::min() ? kSmallestNormal : 0);
              }
            }
          }
        }
      }
    }
  }
}

// A step multiplies and adds, with a power of λ that was rounded once: 3 roundings of what is there by then.
TEST_P(Elementwise, ScansBlockStates) {
  const std::vector<float> slopes{0, 0.125f, 2};
  for (const auto& [tokens, block] : {std::pair<Index, Index>{13, 4}, {4, 4}, {3, 8}, {0, 4}, {9, 1}}) {
    for (const Toward toward : {Toward::end, Toward::start}) {
      for (const Documents& documents :
           {Documents{}, Documents{.starts = {0, 2}}, Documents{.starts = {1}, .end = 2}}) {
        if (!documents.starts.empty() && documents.starts.back() >= tokens) continue;
        const Index blocks = std::max<Index>(1, (tokens + block - 1) / block), d = 3, e = 5;
        const Array own = random_array({2, 3, blocks * d, e}, DType::fp32, 10);
        const Tensor states = to_device(*device_, own, DType::fp32),
                     total = device_->allocate({2, 3, d, e}, DType::fp32);
        device_->lightning_scan(states, slopes, documents, tokens, block, toward, total);
        Reference entering({2, 3, blocks * d, e}), sums({2, 3, d, e});
        for (Index b = 0; b < 2; ++b) {
          for (Index h = 0; h < 3; ++h) {
            for (Index x = 0; x < d * e; ++x) {
              double sum = 0, magnitude = 0;
              for (Index step = 0; step < blocks; ++step) {
                const Index n = toward == Toward::end ? step : blocks - 1 - step;
                const TokenSpan span{n * block, std::min(tokens, (n + 1) * block)};
                const double share = own.at(b, h, n * d + x / e, x % e);
                const double factor =
                    documents.across(span)
                        ? std::exp(-static_cast<double>(slopes[static_cast<std::size_t>(h)]) *
                                   static_cast<double>(span.end - span.first))
                        : 0;
                entering.add(b, h, n * d + x / e, x % e, sum, magnitude);
                magnitude = factor * (magnitude + 2 * std::fabs(sum)) + std::fabs(factor * sum + share);
                sum = factor * sum + share;
              }
              sums.add(b, h, x / e, x % e, sum, magnitude);
            }
          }
        }
        expect_close(states, entering, "states");
        expect_close(total, sums, "total");
      }
    }
  }
}

TEST(Guards, TellWhichSideAndHowLargeTheTensor) {
  const Index bytes = 12;
  std::vector<unsigned char> memory(static_cast<std::size_t>(2 * kGuardBytes + bytes), kGuardByte);
  const auto found = [&] {
    Index violation = 0;
    const CheckGuards check{memory.data() + kGuardBytes, bytes, &violation};
    for (Index i = 0; i < 2 * kGuardBytes; ++i) check(i);
    return violation;
  };
  std::fill_n(memory.begin() + kGuardBytes, bytes, kPoisonByte);
  EXPECT_EQ(found(), 0);
  for (std::size_t at = 0; at < memory.size(); ++at) {
    const unsigned char was = std::exchange(memory[at], static_cast<unsigned char>(0));
    const auto index = static_cast<Index>(at);
    const bool before = index < kGuardBytes, inside = !before && index < kGuardBytes + bytes;
    EXPECT_EQ(found(), inside ? 0 : before ? -bytes - 1 : bytes + 1) << at;
    memory[at] = was;
  }
}

}  // namespace
}  // namespace ringside
