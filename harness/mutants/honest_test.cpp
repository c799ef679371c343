// Where honest ends and wrong begins: merges and roundings that most rings have, and those that none may
// have.
#include <gmock/gmock.h>

#include "harness/judge/run_case.h"
#include "harness/mutants/common_merge.h"
#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"
#include "harness/run/device_entry.h"
#include "harness/run/rounded_partials.h"

namespace ringside {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const Case kCase = {.variant = "ring",
                    .batch = 2,
                    .seq = 256,
                    .heads = 8,
                    .kv_heads = 8,
                    .head_dim = 64,
                    .value_dim = 64,
                    .sp = 4};

class Honest : public ::testing::Test {
 protected:
  CaseResult run(const Case& c, const Variant& variant, HostOutputs* keep = nullptr) {
    standard_ = make_standard(c, fleet_);
    return run_case({device_entry("cpu"), fleet_}, {c, variant}, standard_, {.keep = keep});
  }
  CaseResult run(const Case& c) { return run(c, *find_variant(c.variant, c.op)); }

  /// The verdict on what `spoil` makes of an honest run's outputs.
  CaseResult spoiled(const Case& c, const std::function<void(HostOutputs&)>& spoil) {
    const Variant& variant = *find_variant(c.variant, c.op);
    HostOutputs outputs;
    EXPECT_EQ(run(c, variant, &outputs).status, Status::pass);
    spoil(outputs);
    CaseResult result{.c = c};
    judge_outputs(measure_all(c, maker({c, variant}), standard_, outputs, false, fleet_), standard_,
                  {{true, true, true, true}}, result);
    conclude(result);
    return result;
  }

  Fleet fleet_ = Fleet::of_threads(std::nullopt, std::chrono::minutes(1));
  Standard standard_;
};

// 15 of these 48 exceed the bound if kMerge is 0.
TEST_F(Honest, CommonMergeIsOfLargeLogits) {
  for (const char* name : {"ring", "ring_zigzag"}) {
    for (std::uint64_t seed = 1; seed <= 24; ++seed) {
      Case c = kCase;
      c.variant = name;
      c.fill = Fill::large_logit;
      c.seed = seed;
      const CaseResult result = run(c, on_device<CommonMerge>(*find_variant(name, c.op)));
      EXPECT_EQ(result.status, Status::pass) << name << " " << seed << ": " << result.reason;
    }
  }
}

TEST_F(Honest, RoundedPartialsAreWhereTheCaseSaysSo) {
  Case c = {.variant = "ring",
            .dtype = DType::bf16,
            .math = Math::bf16,
            .seq = 128,
            .heads = 4,
            .kv_heads = 4,
            .head_dim = 64,
            .value_dim = 64,
            .sp = 32};
  int red = 0;
  for (c.seed = 1; c.seed <= 6; ++c.seed) {
    for (const char* name : {"ring", "ring_striped", "balanced"}) {
      c.variant = name;
      Case said = c;
      said.partials = DType::bf16;
      const CaseResult result = run(said);
      EXPECT_EQ(result.status, Status::pass) << said.name() << ": " << result.reason;
      red +=
          run(c, on_device<RoundedPartials>(*find_variant(name, c.op), DType::bf16)).status == Status::fail;
    }
  }
  EXPECT_GT(red, 0);
}

TEST_F(Honest, NumbersOfACoarserTypeAreRed) {
  const auto rounded = [](DType to, Out out) {
    return [=](HostOutputs& outputs) {
      for (float& x : outputs[out]) x = rounded_to(to, x);
    };
  };
  Case c = kCase;
  c.seq = 64;
  for (const Out out : kOuts) {
    const auto name = std::string(to_string(out));
    c.dtype = DType::fp16;
    c.math = Math::tf32;
    EXPECT_THAT(spoiled(c, rounded(DType::bf16, out)).reason, HasSubstr(name + ": holds bf16 numbers alone"));
    c.dtype = DType::fp32;
    c.math = Math::fp32;
    EXPECT_THAT(spoiled(c, rounded(DType::bf16, out)).reason, HasSubstr(name + ": holds bf16 numbers alone"));
    EXPECT_THAT(spoiled(c, rounded(DType::fp16, out)).reason,
                HasSubstr(name + ": holds fp16 or TF32 numbers alone"));
  }
}

TEST_F(Honest, OneRankOfACoarserTypeIsNamed) {
  Case c = kCase;
  c.dtype = DType::fp16;
  c.math = Math::tf32;
  const CaseResult result = spoiled(c, [&](HostOutputs& outputs) {
    for (std::size_t i = 0; i < outputs[Out::dq].size(); ++i) {
      const Index token = static_cast<Index>(i) / c.head_dim % c.seq;
      float& x = outputs[Out::dq][i];
      if (token >= c.seq / 4 && token < c.seq / 2) x = rounded_to(DType::bf16, x);
    }
  });
  EXPECT_THAT(result.reason, HasSubstr("dq: holds bf16 numbers alone on rank 1, where"));
}

/// A query that sees one key gives it as products take it: rank 0 has numbers of TF32 or bf16 alone.
TEST_F(Honest, NumbersThatProductsMakeCoarseAreNotRounded) {
  for (const Math math : {Math::tf32, Math::bf16}) {
    Case c = kCase;
    c.seq = c.sp = 5;
    c.math = math;
    HostOutputs outputs;
    EXPECT_EQ(run(c, *find_variant(c.variant, c.op), &outputs).status, Status::pass) << c.name();
    const float first = outputs[Out::o].front();
    EXPECT_EQ(first, math == Math::tf32 ? truncated_to_tf32(first) : rounded_to(DType::bf16, first));
  }
}

TEST(WholeTensor, IsRedBeyondTheFactorOnGaussianDataOfManyRows) {
  TensorStats honest;
  honest[Count::elements] = kTensorElements;
  honest[Count::telling] = 1;
  honest[Sum::error2] = 1;
  honest[Sum::row_error4] = 0.01;
  honest[Sum::ref2] = honest[Sum::x_ref] = 1e4;
  const auto is_red = [&](double factor, const TensorStats& of_honest, bool random, Case c) {
    TensorStats stats = honest;
    stats[Sum::error2] = factor * factor;
    return !judge(c, stats, {}, of_honest, random).findings.empty();
  };
  Case c = kCase;
  c.dtype = DType::bf16;
  EXPECT_FALSE(is_red(kTensorFactor - 0.001, honest, true, c));
  EXPECT_TRUE(is_red(kTensorFactor + 0.001, honest, true, c));
  EXPECT_FALSE(is_red(2, honest, false, c));
  TensorStats few = honest;
  few[Count::elements] = kTensorElements - 1;
  EXPECT_FALSE(is_red(2, few, true, c));
  few = honest;
  few[Sum::row_error4] = 1.01 / kTensorRows;
  EXPECT_FALSE(is_red(2, few, true, c));
  c.dtype = DType::fp32;
  EXPECT_FALSE(is_red(2, honest, true, c));
}

// At 8 ranks no element need be beyond its bound.
TEST_F(Honest, SumsIn16BitsErrTooMuchAsAWhole) {
  Case c = kCase;
  c.dtype = DType::bf16;
  c.math = Math::bf16;
  c.sp = 8;
  c.seq = 512;
  for (const Mutant& mutant : all_mutants()) {
    if (mutant.bug != "gradients_summed_in_16_bits" || mutant.twin.name != "ring") continue;
    const CaseResult result = run(c, mutant.twin);
    EXPECT_THAT(result.reason, HasSubstr("dk: errs too much as a whole"));
    EXPECT_EQ(result.tensors[Out::dk].stats[Count::failed], 0);
    return;
  }
  ADD_FAILURE() << "no such bug";
}

}  // namespace
}  // namespace ringside
