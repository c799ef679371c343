// Tests verdicts on products of bf16. Right ones pass, and so little as 2⁻⁷ too much of dq is seen.
#include "harness/judge/verdict.h"

#include <gmock/gmock.h>

#include "harness/judge/run_case.h"
#include "harness/run/device_entry.h"

namespace ringside {
namespace {

class ProductsOfBf16 : public ::testing::TestWithParam<std::pair<const char*, Operator>> {
 protected:
  static Case problem(std::uint64_t seed) {
    const bool softmax = GetParam().second == Operator::softmax;
    return {.variant = GetParam().first,
            .op = GetParam().second,
            .dtype = DType::bf16,
            .math = Math::bf16,
            .batch = 4,
            .seq = 128,
            .heads = 4,
            .kv_heads = softmax ? 2 : 4,
            .head_dim = 32,
            .value_dim = 32,
            .sp = 4,
            .seed = seed};
  }
};

TEST_P(ProductsOfBf16, AreRightAndALittleMoreIsBiased) {
  Fleet fleet = Fleet::of_threads(std::nullopt, std::chrono::minutes(1));
  for (const std::uint64_t seed : {1, 2}) {
    const Case c = problem(seed);
    const Variant& variant = *find_variant(c.variant, c.op);
    const Standard standard = make_standard(c, fleet);
    HostOutputs outputs;
    const CaseResult control =
        run_case({device_entry("cpu"), fleet}, {c, variant}, standard, {.keep = &outputs});
    EXPECT_EQ(control.status, Status::pass) << control.reason;
    for (const double factor : {1 + 0x1p-7, 1 - 0x1p-7}) {
      HostOutputs scaled = outputs;
      for (float& x : scaled[Out::dq]) x = static_cast<float>(x * factor);
      CaseResult result{.c = c};
      judge_outputs(measure_all(c, maker({c, variant}), standard, scaled, false, fleet), standard,
                    {{true, true, true, true}}, result);
      conclude(result);
      const TensorVerdict& dq = result.tensors[Out::dq];
      EXPECT_EQ(result.status, Status::fail) << factor << ": bias " << dq.bias << ", limit " << dq.bias_limit;
      EXPECT_THAT(result.reason, ::testing::HasSubstr("dq: biased: "));
      EXPECT_LT(control.tensors[Out::dq].bias, dq.bias_limit / 4);  // not by a hair
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, ProductsOfBf16,
                         ::testing::Values(std::pair{"ring_zigzag", Operator::softmax},
                                           std::pair{"lasp_naive", Operator::lightning}),
                         [](const auto& of) { return std::string(of.param.first); });

}  // namespace
}  // namespace ringside
