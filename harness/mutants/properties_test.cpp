// Tests properties on every variant, and faults that break each.
#include "harness/judge/properties.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "harness/cases/case_file.h"
#include "harness/cases/select_cases.h"
#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"
#include "harness/mutants/wrong_block.h"
#include "harness/report/table.h"
#include "harness/run/communicator_decorator.h"
#include "harness/run/device_decorator.h"
#include "harness/run/device_entry.h"
#include "harness/sweep/plan.h"
#include "harness/testing/variants.h"

namespace ringside {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

const std::vector<Check> kAllChecks = {kChecks.begin(), kChecks.end()};

class EveryProperty : public testing::TestWithParam<Variant> {};

TEST_P(EveryProperty, HoldsInTheFileOfCases) {
  const Variant& variant = GetParam();
  Fleet fleet = Fleet::of_threads(std::nullopt, seconds(60));
  const Runner runner = {device_entry("cpu"), fleet};
  std::map<Check, int> held;
  const auto cases = read_cases(RINGSIDE_CASES "/properties.csv", registered_operators);
  for (const PlannedCase& planned : make_plan(
                                        cases, fleet.world(), [](const Case&) { return 0; }, 1)
                                        .cases) {
    const Case& c = planned.c;
    if (c.variant != variant.name || c.op != variant.op) continue;
    ASSERT_EQ(planned.skip, std::nullopt) << c.name();
    const CaseResult result = run_case(runner, {c, variant}, make_standard(c, fleet));
    EXPECT_EQ(result.status, Status::pass) << failure_report(result, "properties.csv");
    ASSERT_EQ(result.checks.size(), kChecks.size());
    for (const CheckResult& check : result.checks) held[check.check] += check.outcome == CheckOutcome::ok;
  }
  for (const Check check : kChecks) {
    if (variant.name == "lightning" && check == Check::sp_split) continue;  // it has one rank
    EXPECT_GE(held[check], 5) << to_string(check);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryProperty, testing::ValuesIn(variants()),
                         [](const auto& param) { return test_name(param.param); });

/// Grouped heads, uneven chunks.
Case softmax_case() {
  return {.variant = "ring",
          .batch = 2,
          .seq = 131,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 12,
          .value_dim = 9,
          .sp = 3,
          .checks = kAllChecks};
}

Case packed_case() {
  Case c = softmax_case();
  c.cu_seqlens = {0, 20, 21, 60, 100, 120};
  c.padding = 11;
  c.sp = 2;
  return c;
}

Case lightning_case() {
  Case c = softmax_case();
  c.variant = "lasp_naive";
  c.op = Operator::lightning;
  return c;
}

CaseResult result_of(const Case& c, const Variant& variant, std::optional<int> world = {}) {
  Fleet fleet = Fleet::of_threads(world, seconds(60));
  return run_case({device_entry("cpu"), fleet}, {c, variant}, make_standard(c, fleet));
}

// --- faults

struct FutureKeysSeen : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  SoftmaxBlock wrong(SoftmaxBlock block) const {
    if (rank_ > 0) {
      for (Run& run : block.q_positions) run.start += 1;
    }
    return block;
  }
  void softmax_forward(const SoftmaxBlock& b, const Tensor& o, const Tensor& lse) override {
    real_.softmax_forward(wrong(b), o, lse);
  }
};

struct PastQueriesCounted : FutureKeysSeen {
  using FutureKeysSeen::FutureKeysSeen;
  void softmax_forward(const SoftmaxBlock& b, const Tensor& o, const Tensor& lse) override {
    real_.softmax_forward(b, o, lse);
  }
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    real_.softmax_backward(wrong(b), dout, lse, delta, dq, dk, dv);
  }
};

/// Every rank knows of one document alone; what is behind the last is padding.
struct DocumentsForgotten : WrongBlock {
  using WrongBlock::WrongBlock;
  std::vector<Index> one = {};
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    if (!block.mask.cu_seqlens.empty()) one = {0, block.mask.cu_seqlens.back()};
    block.mask.cu_seqlens = one;
    return block;
  }
};

struct FutureScoresKept : DeviceDecorator {  // λ^|i-j| where j > i
  using DeviceDecorator::DeviceDecorator;
  void matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c, bool accumulate,
              Causal, TokenSpan tokens) override {
    real_.matmul(a, ta, b, tb, c, accumulate, Causal::none, tokens);
  }
  void decay_scores(const Tensor& scores, std::span<const float> slopes, TokenSpan) override {
    const View<float> view = scores.view<float>();
    const Shape& s = scores.shape();
    for (Index b = 0; b < s.batch; ++b) {
      for (Index h = 0; h < s.heads; ++h) {
        for (Index i = 0; i < s.tokens; ++i) {
          const std::span<float> row = view.row(b, h, i);
          for (Index j = 0; j < s.dim; ++j) {
            const auto distance = static_cast<float>(std::abs(i - j));
            row[static_cast<std::size_t>(j)] *= std::exp(-slopes[static_cast<std::size_t>(h)] * distance);
          }
        }
      }
    }
  }
};

struct FirstSlopeForAll : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void decay_scores(const Tensor& scores, std::span<const float> slopes, TokenSpan tokens) override {
    real_.decay_scores(scores, std::vector<float>(slopes.size(), slopes[0]), tokens);
  }
};

/// Elements of a tensor with index [b, h] times `factor`; b or h may be -1: all.
void scale_part(const Tensor& x, Index batch, Index head, float factor) {
  const Shape& s = x.shape();
  for (Index b = 0; b < s.batch; ++b) {
    for (Index h = 0; h < s.heads; ++h) {
      if ((batch >= 0 && b != batch) || (head >= 0 && h != head)) continue;
      for (Index t = 0; t < s.tokens; ++t) {
        for (float& e : x.view<float>().row(b, h, t)) e *= factor;
      }
    }
  }
}

constexpr float kSlightly = 1 + 0x1p-20F;  // far below what the element bounds allow

/// A twin of ring whose results are spoiled afterwards.
template <auto spoil>
Variant ring_spoiled() {
  Variant twin = *find_variant("ring", Operator::softmax);
  twin.backward = [](const Context& c, const Inputs& in, const Forward& f, const Tensor& dout) {
    Gradients grad = find_variant("ring", Operator::softmax)->backward(c, in, f, dout);
    spoil(grad, c);
    return grad;
  };
  return twin;
}
void spoil_first_entry(Gradients& grad, const Context&) { scale_part(grad.dq, 0, -1, kSlightly); }
void spoil_last_kv_head(Gradients& grad, const Context& c) {
  scale_part(grad.dk, -1, c.problem.kv_heads - 1, kSlightly);
}
void add_constant(Gradients& grad, const Context&) {
  transform(grad.dv, [](float x) { return x + 0x1p-20F; });
}
void scale_with_batch(Gradients& grad, const Context& c) {
  scale_part(grad.dv, -1, -1, std::pow(kSlightly, static_cast<float>(c.problem.batch)));
}
void scale_with_ranks(Gradients& grad, const Context& c) {
  scale_part(grad.dv, -1, -1, static_cast<float>(c.comm.size()));
}

/// Reads what arrives before it has waited for it: once a later message from the same rank is there. Threads
/// deliver in order, so that it does no harm, unless they deliver as late as they may.
class ReadsEarly : public ForwardingCommunicator {
 public:
  ReadsEarly(Communicator& real, Device& device) : ForwardingCommunicator(real), device_(device) {}

 private:
  Request start(std::vector<Message> sends, std::vector<Message> receives, std::string what) override {
    std::vector<Message> out, in;
    for (const Message& m : sends) out.push_back({m.peer, token()});
    for (const Message& m : receives) in.push_back({m.peer, token()});
    late_.push_back(real_.exchange(std::move(sends), std::move(receives), what));
    real_.exchange(std::move(out), std::move(in), what + ", token").wait();
    return {};
  }
  Tensor token() {
    const Tensor x = device_.allocate({1, 1, 1, 1}, DType::fp32);
    device_.fill(x, 0);
    return x;
  }

  Device& device_;
  std::vector<Request> late_;
};

Variant ring_that_reads_early() {
  Variant twin = *find_variant("ring", Operator::softmax);
  twin.forward = [](const Context& c, const Inputs& in) {
    ReadsEarly comm(c.comm, c.device);
    return find_variant("ring", Operator::softmax)->forward({comm, c.device, c.problem}, in);
  };
  return twin;
}

struct Fault {
  const char* name;
  Variant variant;
  Case (*make_case)();
  std::vector<Check> found_by;  ///< by these and no others
};

TEST(PlantedFault, IsFoundByTheChecksWhosePropertyItBreaks) {
  const Operator softmax = Operator::softmax, lightning = Operator::lightning;
  const std::vector<Fault> faults = {
      {"none", *find_variant("ring", softmax), softmax_case, {}},
      {"none", *find_variant("ring_zigzag", softmax), packed_case, {}},
      {"none", *find_variant("lasp_naive", lightning), lightning_case, {}},
      {"documents forgotten",
       on_device<DocumentsForgotten>(*find_variant("ulysses", softmax)),
       packed_case,
       {Check::documents}},
      // one rank has none of the next three faults or another number of wrong rows: sp_split finds them as
      // well
      {"queries see a future key",
       on_device<FutureKeysSeen>(*find_variant("ring", softmax)),
       softmax_case,
       {Check::causality, Check::sp_split}},
      {"keys take from a past query",
       on_device<PastQueriesCounted>(*find_variant("ring", softmax)),
       softmax_case,
       {Check::causality, Check::sp_split}},
      {"future scores not masked",
       on_device<FutureScoresKept>(*find_variant("lasp_naive", lightning)),
       lightning_case,
       {Check::causality, Check::sp_split}},
      // a group's first entry is another one at another dp
      {"first entry",
       ring_spoiled<spoil_first_entry>(),
       softmax_case,
       {Check::batch_permutation, Check::dp_split}},
      {"last kv head", ring_spoiled<spoil_last_kv_head>(), softmax_case, {Check::head_permutation}},
      // one rank's chunk holds more of the wrong scores than each of three
      {"slope of the first head",
       on_device<FirstSlopeForAll>(*find_variant("lasp_naive", lightning)),
       lightning_case,
       {Check::head_permutation, Check::sp_split}},
      {"constant added", ring_spoiled<add_constant>(), softmax_case, {Check::doubling}},
      {"times the batch", ring_spoiled<scale_with_batch>(), softmax_case, {Check::dp_split}},
      {"times the ranks", ring_spoiled<scale_with_ranks>(), softmax_case, {Check::sp_split}},
      {"receive buffer read early", ring_that_reads_early(), softmax_case, {Check::repeat}}};
  for (const Fault& fault : faults) {
    SCOPED_TRACE(fault.name);
    const CaseResult result = result_of(fault.make_case(), fault.variant);
    std::vector<Check> found;
    for (const CheckResult& check : result.checks) {
      if (check.check == Check::documents && result.c.cu_seqlens.empty()) {
        EXPECT_EQ(check.outcome, CheckOutcome::skipped);
        EXPECT_EQ(check.note, "there is one document");
        continue;
      }
      EXPECT_EQ(check.outcome, check.findings.empty() ? CheckOutcome::ok : CheckOutcome::failed)
          << to_string(check.check);
      if (!check.findings.empty()) found.push_back(check.check);
      for (const Finding& finding : check.findings) {
        EXPECT_EQ(finding.rule, Rule::property);
        EXPECT_EQ(finding.subject, to_string(check.check));
        EXPECT_THAT(result.reason, HasSubstr(sentence(finding)));
      }
    }
    EXPECT_EQ(found, fault.found_by) << result.reason;
    EXPECT_EQ(result.status == Status::fail, !fault.found_by.empty());
  }
}

TEST(PlantedFault, IsToldByItsPlaceAndCount) {
  Case c = softmax_case();
  c.checks = {Check::causality};
  const CaseResult result = result_of(c, on_device<FutureKeysSeen>(*find_variant("ring", Operator::softmax)));
  // rank 0, which is right, holds the tokens before the first cut, 43; row 113 sees key 114
  ASSERT_GE(result.checks[0].findings.size(), 1U);
  EXPECT_THAT(sentence(result.checks[0].findings[0]),
              MatchesRegex("o: causality: batch 0, head 0, position 113, dim 0 on rank 2 is .*, not .*, when "
                           "tokens after 113 change; 72 of 8208 elements"));
}

// --- when a property says nothing

/// What came of a check of `c`.
std::string outcome(Check check, Case c, std::optional<int> world = {}) {
  c.checks = {check};
  const CaseResult result = result_of(c, *find_variant(c.variant, c.op), world);
  const CheckResult& made = result.checks.at(0);
  return std::string(to_string(made.outcome)) + (made.note.empty() ? "" : ": " + made.note);
}

template <typename Change>
Case with(Case c, const Change& change) {
  change(c);
  return c;
}

TEST(Properties, SaySoWhereTheySayNothing) {
  const Case soft = softmax_case(), light = lightning_case();
  const auto skipped = [](const char* reason) {
    return testing::StartsWith(std::string("skipped: ") + reason);
  };
  const auto fill = [](Fill f) { return [f](Case& c) { c.fill = f; }; };
  EXPECT_THAT(outcome(Check::causality, with(soft, [](Case& c) { c.causal = false; })), skipped("every row"));
  EXPECT_THAT(outcome(Check::causality, with(soft, [](Case& c) { c.seq = 1; })), skipped("one token"));
  EXPECT_THAT(outcome(Check::causality, with(light, fill(Fill::nan))), skipped("NaN and inf"));
  EXPECT_THAT(outcome(Check::causality, with(light, fill(Fill::constant))), skipped("constant data"));
  EXPECT_THAT(outcome(Check::documents, soft), skipped("there is one document"));
  EXPECT_THAT(outcome(Check::documents, with(packed_case(), fill(Fill::constant))), skipped("constant data"));
  EXPECT_EQ(outcome(Check::documents, with(packed_case(), fill(Fill::nan))), "ok");
  EXPECT_EQ(outcome(Check::documents, with(soft, [](Case& c) { c.padding = 7; })), "ok");
  EXPECT_THAT(outcome(Check::batch_permutation, with(soft, [](Case& c) { c.batch = 1; })),
              skipped("there is one batch entry"));
  EXPECT_THAT(outcome(Check::head_permutation, with(soft, [](Case& c) { c.kv_heads = 1; })),
              skipped("there is one kv head"));
  EXPECT_THAT(outcome(Check::head_permutation, with(soft, fill(Fill::constant))), skipped("all heads"));
  EXPECT_THAT(outcome(Check::doubling, with(soft, [](Case& c) { c.dtype = DType::fp16; })), skipped("fp16"));
  EXPECT_THAT(outcome(Check::doubling, with(soft, fill(Fill::denormal))), skipped("denormals"));
  EXPECT_THAT(outcome(Check::doubling, with(soft, fill(Fill::large_logit))), skipped("weights"));
  EXPECT_EQ(outcome(Check::doubling, with(light, fill(Fill::large_logit))), "ok");
  const auto steep_integers = [](Case& c) { c.fill = Fill::exact, c.decay = {1.0F}; };
  EXPECT_THAT(outcome(Check::doubling, with(light, steep_integers)), skipped("decayed terms"));
  const auto exact_fp16 = [](Case& c) { c.dtype = DType::fp16, c.fill = Fill::exact, c.decay = {0.0F}; };
  EXPECT_EQ(outcome(Check::doubling, with(light, exact_fp16)), "ok");
  EXPECT_THAT(outcome(Check::sp_split, with(soft, fill(Fill::inf))), skipped("which rows"));
}

TEST(Properties, RunOnTheRanksThereAre) {
  const Case c = softmax_case();
  EXPECT_EQ(outcome(Check::dp_split, c, 6), "ok");
  EXPECT_THAT(outcome(Check::dp_split, c, 5), HasSubstr("skipped: there is no other dp"));
  EXPECT_THAT(outcome(Check::dp_split, with(c, [](Case& x) { x.batch = 1; })), HasSubstr("no other dp"));
  EXPECT_EQ(outcome(Check::sp_split, c, 3), "ok");
  EXPECT_THAT(outcome(Check::sp_split, with(c, [](Case& x) { x.sp = 1; }), 1), HasSubstr("no other sp"));
  EXPECT_THAT(
      outcome(Check::sp_split,
              {.variant = "lightning", .op = Operator::lightning, .seq = 9, .head_dim = 3, .value_dim = 2}),
      HasSubstr("no other sp"));
}

TEST(Properties, HaveOneSummaryEachInTheOrderOfTheirNames) {
  ASSERT_EQ(properties().size(), kChecks.size());
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kChecks.size(); ++i) {
    EXPECT_EQ(properties()[i].check, kChecks[i]);
    EXPECT_FALSE(properties()[i].summary.empty());
    EXPECT_TRUE(names.insert(to_string(kChecks[i])).second);
  }
}

}  // namespace
}  // namespace ringside
