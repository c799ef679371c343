// Tests TF32 and bf16 products on every device. Every operand of every matrix product is truncated or
// rounded, and nothing else.
#include "kernels/test_support.h"

namespace ringside {
namespace {

/// x as an operand of products.
float as_operand(Math math, float x) {
  return math == Math::tf32 ? truncated_to_tf32(x) : rounded_to(DType::bf16, x);
}

/// The math of the device's products.
class Operands : public testing::TestWithParam<Math> {
 protected:
  static float operand(float x) { return as_operand(GetParam(), x); }
  static Array operands(Array x) {
    for (double& value : x.values) value = static_cast<double>(operand(static_cast<float>(value)));
    return x;
  }
};

INSTANTIATE_TEST_SUITE_P(Both, Operands, testing::Values(Math::tf32, Math::bf16),
                         [](const auto& param) { return std::string(to_string(param.param)); });

TEST_P(Operands, MatmulTakesThemOfEveryFactor) {
  const auto exact = make_cpu_device({.poison = true});
  const auto device = make_cpu_device({.math = GetParam(), .poison = true});
  for (const DType dtype : kDTypes) {
    for (const Transpose ta : {Transpose::no, Transpose::yes}) {
      for (const Transpose tb : {Transpose::no, Transpose::yes}) {
        const auto stored = [](Index rows, Index cols, Transpose t) {
          return t == Transpose::no ? Shape{1, 1, rows, cols} : Shape{1, 1, cols, rows};
        };
        const Array a = random_array(stored(67, 131, ta), dtype, 1);
        const Array b = random_array(stored(131, 130, tb), DType::fp32, 2);
        const auto product = [&](Device& on, const Array& left, const Array& right) {
          const Tensor c = on.allocate({1, 1, 67, 130}, DType::fp32);
          on.matmul(to_device(on, left, dtype), ta, to_device(on, right, DType::fp32), tb, c, false,
                    Causal::none, kEveryToken);
          return c;
        };
        const Tensor c = product(*device, a, b);
        expect_same_bits(c, product(*exact, operands(a), operands(b)), "c");
        EXPECT_NE(from_device(c).values, from_device(product(*exact, a, b)).values);
      }
    }
  }
}

/// A number whose truncation, and whose rounding to bf16, is `head`.
float with_tail(float head) { return head * (1 + 0x1.fp-12F); }

/// One token, one dim: results follow by hand. Operands are two or three products away from inputs of ten
/// bits, so three roundings of fp32 at most; each truncation that were left out or made twice would show as
/// 2^-12 or more of its term.
struct OneToken {
  std::unique_ptr<Device> device;
  float q = with_tail(1.5F), k = with_tail(-0.625F), v = with_tail(1.25F), dout = with_tail(0.875F);
  float tq = 1.5F, tk = -0.625F, tv = 1.25F, tdo = 0.875F;

  Tensor tensor(float x) const {
    const Tensor t = device->allocate({1, 1, 1, 1}, DType::fp32);
    device->fill(t, x);
    return t;
  }
  static void expect_near(const Tensor& x, float expected, const char* what) {
    const double value = from_device(x).values[0], truth = static_cast<double>(expected);
    EXPECT_NEAR(value, truth, 4 * 0x1p-24 * (std::abs(truth) + 4)) << what;
  }
};

TEST_P(Operands, SoftmaxTakesThem) {
  const OneToken x{make_cpu_device({.math = GetParam(), .poison = true})};
  // the logits of both tokens; two keys, so that weights are not 1
  const float scale = 0.3F, k2 = with_tail(0.75F), v2 = with_tail(-1.75F);
  Array keys({1, 1, 2, 1}), values({1, 1, 2, 1});
  keys.values = {static_cast<double>(x.k), static_cast<double>(k2)};
  values.values = {static_cast<double>(x.v), static_cast<double>(v2)};
  const SoftmaxBlock block{.q = x.tensor(x.q),
                           .k = to_device(*x.device, keys, DType::fp32),
                           .v = to_device(*x.device, values, DType::fp32),
                           .q_positions = {{1, 1, 1}},
                           .k_positions = {{0, 1, 2}},
                           .mask = {},
                           .scale = scale};
  const Tensor o = x.tensor(0), lse = x.tensor(0);
  x.device->softmax_forward(block, o, lse);
  const float s[] = {scale * (x.tq * x.tk), scale * (x.tq * 0.75F)};  // s[1] is the larger
  const float p[] = {std::exp(s[0] - s[1]), 1}, sum = p[0] + p[1];
  const float log_sum = s[1] + std::log(sum);
  OneToken::expect_near(lse, log_sum, "lse");
  OneToken::expect_near(o, (operand(p[0]) * x.tv + p[1] * -1.75F) / sum, "o");

  const float delta = 0.125F;
  const Tensor dq = x.tensor(0), dk = to_device(*x.device, Array({1, 1, 2, 1}), DType::fp32),
               dv = to_device(*x.device, Array({1, 1, 2, 1}), DType::fp32);
  x.device->softmax_backward(block, x.tensor(x.dout), lse, x.tensor(delta), dq, dk, dv);
  const float weight = std::exp(s[0] - log_sum), weight2 = std::exp(s[1] - log_sum);
  const float ds = operand(scale * weight * (x.tdo * x.tv - delta));
  const float ds2 = operand(scale * weight2 * (x.tdo * -1.75F - delta));
  OneToken::expect_near(dq, ds * x.tk + ds2 * 0.75F, "dq");
  EXPECT_NEAR(from_device(dk).values[0], static_cast<double>(ds * x.tq), 0x1p-21);
  EXPECT_NEAR(from_device(dv).values[0], static_cast<double>(operand(weight) * x.tdo), 0x1p-21);
}

class LightningOperands : public testing::TestWithParam<std::tuple<DeviceEntry, Math>> {};

INSTANTIATE_TEST_SUITE_P(Both, LightningOperands,
                         testing::Combine(testing::ValuesIn(test_devices()),
                                          testing::Values(Math::tf32, Math::bf16)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) + "_" +
                                  std::string(to_string(std::get<1>(test.param)));
                         });

TEST_P(LightningOperands, AreTaken) {
  const auto& [entry, math] = GetParam();
  const OneToken x{entry.make({.math = math, .poison = true})};
  const float slope = 0.3F, decay = std::exp(-slope), state = with_tail(0.6875F), ts = 0.6875F;
  const std::vector<float> slopes = {slope};
  const LightningChunk chunk{x.tensor(x.q), x.tensor(x.k), x.tensor(x.v), slopes};
  const Tensor in = x.tensor(state), out = x.tensor(state), o = x.tensor(0);
  x.device->lightning_forward(chunk, out, o);
  const float score = as_operand(math, x.tq * x.tk), dscore = as_operand(math, x.tdo * x.tv);
  OneToken::expect_near(o, x.tq * ts + score * x.tv, "o");
  // a GPU's operands are truncated by the product alone: a scaled row once, the CPU's before it is scaled too
  const float v = math == Math::tf32 && entry.name != "cpu" ? x.v : x.tv;
  OneToken::expect_near(out, decay * state + x.tk * as_operand(math, decay * v), "state");

  const Tensor dstate = x.tensor(state), dq = x.tensor(0), dk = x.tensor(0), dv = x.tensor(0);
  x.device->lightning_backward(chunk, x.tensor(x.dout), in, dstate, dq, dk, dv);
  OneToken::expect_near(dq, x.tdo * ts + dscore * x.tk, "dq");
  OneToken::expect_near(dk, decay * (x.tv * ts) + dscore * x.tq, "dk");
  OneToken::expect_near(dv, decay * (x.tk * ts) + score * x.tdo, "dv");
  OneToken::expect_near(dstate, decay * state + x.tq * x.tdo, "dstate");
}

TEST_P(Operands, InputsOfNoMoreBitsLoseNothing) {
  // a product of inputs alone is that of fp32
  const auto exact = make_cpu_device(), device = make_cpu_device({.math = GetParam()});
  for (const DType dtype : {DType::bf16, DType::fp16}) {
    if (dtype == DType::fp16 && GetParam() == Math::bf16) continue;  // 11 bits, of which 8 stay
    const Array a = random_array({1, 2, 70, 33}, dtype, 1);
    const auto product = [&](Device& on) {
      const Tensor x = to_device(on, a, dtype), c = on.allocate({1, 2, 70, 70}, DType::fp32);
      on.matmul(x, Transpose::no, x, Transpose::yes, c, false, Causal::none, kEveryToken);
      return c;
    };
    expect_same_bits(product(*device), product(*exact), "c");
  }
}

}  // namespace
}  // namespace ringside
