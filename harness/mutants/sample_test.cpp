// Long sequences: some query rows checked, whole gradients. Control results pass, a fault of one rank is red
// whether or not it meets a row that is checked, and the control run is that of the rings.
#include <gtest/gtest.h>

#include <cmath>

#include "harness/cases/select_cases.h"
#include "harness/judge/run_case.h"
#include "harness/mutants/mutant.h"
#include "harness/run/device_decorator.h"
#include "harness/run/device_entry.h"
#include "harness/sweep/plan.h"
#include "harness/tensors/inputs.h"

namespace ringside {
namespace {

Case sampled(DType dtype = DType::fp32) {
  return {.variant = "ring",
          .dtype = dtype,
          .batch = 2,
          .seq = 301,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 24,
          .value_dim = 16,
          .sp = 4,
          .sample = 16};
}

/// Of the four merges that rank 3 makes one is lost.
struct MergeLost : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  int merges = 0;
  void softmax_merge(const Tensor& bo, const Tensor& bl, const Tensor& o, const Tensor& lse) override {
    if (rank_ != 3 || ++merges != 2) real_.softmax_merge(bo, bl, o, lse);
  }
};

/// One rank's share of another's dk and dv.
struct AdditionLost : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  int additions = 0;
  void add(const Tensor& from, const Tensor& to) override {
    if (rank_ != 2 || ++additions != 1) real_.add(from, to);
  }
};

/// One rank sees one key too many.
struct CausalOffset : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    SoftmaxBlock block = b;
    if (rank_ == 1) block.q_positions[0].start += 1;
    real_.softmax_backward(block, dout, lse, delta, dq, dk, dv);
  }
};

template <typename Fault>
Variant on() {
  return on_device<Fault>(*find_variant("ring", Operator::softmax));
}

constexpr Index kLocal = 1;  // a token of rank 2, at position 151 of 301
constexpr Index kGlobal = 151;

/// Element 5 of that token in head 1 of batch entry 1.
void set(const Tensor& x, const Context& c, float value) {
  if (c.comm.rank() != 2) return;
  with_type(x.dtype(), [&]<typename T>(T) { x.view<T>().row(1, 1, kLocal)[5] = from_float<T>(value); });
}

template <auto spoil>
Variant spoiled() {
  Variant twin = *find_variant("ring", Operator::softmax);
  twin.backward = [](const Context& c, const Inputs& in, const Forward& f, const Tensor& dout) {
    Gradients grad = find_variant("ring", Operator::softmax)->backward(c, in, f, dout);
    spoil(grad, f.o, c);  // o is not read again but to be judged
    return grad;
  };
  return twin;
}

void nan_in_o(Gradients&, const Tensor& o, const Context& c) { set(o, c, std::nanf("")); }
void inf_in_o(Gradients&, const Tensor& o, const Context& c) { set(o, c, HUGE_VALF); }
void dust_in_dq(Gradients& grad, const Tensor&, const Context& c) { set(grad.dq, c, 1e-6F); }
void nan_in_dq(Gradients& grad, const Tensor&, const Context& c) { set(grad.dq, c, std::nanf("")); }
void zero_in_dk(Gradients& grad, const Tensor&, const Context& c) { set(grad.dk, c, 0); }
void zero_in_dv(Gradients& grad, const Tensor&, const Context& c) { set(grad.dv, c, 0); }

class Sample : public testing::TestWithParam<DType> {
 protected:
  CaseResult run(const Case& c, const Variant& variant) {
    return run_case(runner_, {c, variant}, standards_.of(c, runner_));
  }

  Fleet fleet_ = Fleet::of_threads(std::nullopt, std::chrono::seconds(60));
  Runner runner_{device_entry("cpu"), fleet_};
  Standards standards_;
};

TEST_P(Sample, ControlResultsPassOnEverySplit) {
  for (const char* name : {"ring", "ring_zigzag", "ring_striped", "ulysses"}) {
    for (const bool causal : {true, false}) {
      for (const Fill fill : {Fill::gaussian, Fill::large_logit, Fill::one_hot, Fill::denormal}) {
        for (const int sp : {1, 2, 4}) {
          Case c = sampled(GetParam());
          c.variant = name;
          c.causal = causal;
          c.fill = fill;
          c.sp = sp;
          const CaseResult result = run(c, *find_variant(name, c.op));
          EXPECT_EQ(result.status, Status::pass) << c.name() << ": " << result.reason;
          if (fill != Fill::gaussian) continue;
          const auto rows = c.batch * c.heads * c.sample, keys = c.batch * c.kv_heads * c.seq;
          EXPECT_EQ(result.tensors[Out::o].stats[Count::elements], rows * c.value_dim);
          EXPECT_EQ(result.tensors[Out::dq].stats[Count::elements], rows * c.head_dim);
          EXPECT_EQ(result.tensors[Out::dk].stats[Count::elements], keys * c.head_dim);
          EXPECT_EQ(result.tensors[Out::dv].stats[Count::elements], keys * c.value_dim);
        }
      }
    }
  }
}

TEST_P(Sample, AFaultOfOneRankIsRed) {
  const std::vector<Index> rows = sampled_rows(sampled());
  ASSERT_EQ(std::ranges::count(rows, kGlobal), 0);  // single elements are spoiled where no query is checked
  const std::pair<const char*, Variant> faults[] = {
      {"merge lost", on<MergeLost>()},       {"addition lost", on<AdditionLost>()},
      {"causal offset", on<CausalOffset>()}, {"NaN in o", spoiled<nan_in_o>()},
      {"inf in o", spoiled<inf_in_o>()},     {"dust in dq", spoiled<dust_in_dq>()},
      {"NaN in dq", spoiled<nan_in_dq>()},   {"zero in dk", spoiled<zero_in_dk>()},
      {"zero in dv", spoiled<zero_in_dv>()},
  };
  const Case c = sampled(GetParam());
  for (const auto& [name, variant] : faults) {
    const CaseResult result = run(c, variant);
    EXPECT_EQ(result.status, Status::fail) << name;
    const bool single = std::string_view(name).find(" in ") != std::string_view::npos;
    for (const TensorVerdict& tensor : result.tensors.of) {
      if (!single || tensor.findings.empty()) continue;
      EXPECT_EQ(tensor.stats[Count::failed], 1) << name;
      EXPECT_EQ(tensor.stats.worst.token, kGlobal) << name;
      EXPECT_EQ(tensor.stats.worst.head, 1) << name;
      EXPECT_EQ(tensor.stats.worst.rank, 2) << name;
      EXPECT_EQ(tensor.ranks[2].failed, 1) << name;
    }
  }
}

TEST_P(Sample, TheHonestRunIsWhatTheRingGivesOnOneRank) {
  for (const Index sample : {0, 16}) {
    Case c = sampled(GetParam());
    c.sample = sample;
    c.sp = 1;
    const CaseResult result = run(c, *find_variant("ring", c.op));
    for (const Out out : kOuts) {
      EXPECT_EQ(result.tensors[out].legacy, 0) << to_string(out);
      EXPECT_EQ(result.tensors[out].stats[Sum::error2], standards_.of(c, runner_).stats[out][Sum::error2])
          << to_string(out);
    }
  }
}

TEST_P(Sample, AsManyRowsAsThereAreAreAll) {
  Case c = sampled(GetParam());
  c.sample = 0;
  const CaseResult all = run(c, *find_variant("ring", c.op));
  for (const Index sample : {c.seq, c.seq + 1}) {
    c.sample = sample;
    const CaseResult named = run(c, *find_variant("ring", c.op));
    EXPECT_EQ(named.status, Status::pass) << named.reason;
    for (const Out out : kOuts) {
      EXPECT_EQ(named.tensors[out].stats.digest, all.tensors[out].stats.digest);
      EXPECT_EQ(named.tensors[out].stats[Count::elements], all.tensors[out].stats[Count::elements]);
      EXPECT_EQ(named.tensors[out].stats.max_share, all.tensors[out].stats.max_share);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, Sample, testing::Values(DType::fp32, DType::bf16, DType::fp16),
                         [](const auto& param) { return std::string(to_string(param.param)); });

TEST(SamplePlan, ASampleTakesLessTimeAndTheSamplesOfASplitShareAStandard) {
  const Repeats none = [](const Case&) { return 0; };
  Case c = sampled();
  c.seq = 1 << 17;
  Case all = c;
  all.sample = 0;
  EXPECT_LT(make_plan({c}, {}, none, 2).needs.seconds, 0.5 * make_plan({all}, {}, none, 2).needs.seconds);
  Case other = c;
  other.sp = 2;
  EXPECT_EQ(make_plan({c, other}, {}, none, 2).standards, 1);
  EXPECT_EQ(make_plan({c, all}, {}, none, 2).standards, 2);
}

TEST(SamplePlan, AMillionTokensOfLightningFitIn16GiB) {
  const Case c = {.variant = "lasp_fuse",
                  .op = Operator::lightning,
                  .dtype = DType::bf16,
                  .seq = 1 << 20,
                  .heads = 2,
                  .kv_heads = 2,
                  .head_dim = 64,
                  .value_dim = 64,
                  .sp = 4};
  EXPECT_LT(estimate(
                c, [](const Case&) { return 0; }, 2)
                .bytes,
            0x1p34);
}

}  // namespace
}  // namespace ringside
