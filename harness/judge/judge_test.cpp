// Tests the judge with faults planted into outputs. One wrong element is red wherever it stands, a row that
// strays on every split, a bound no wider than its formula, and accounts of every rank.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstring>

#include "harness/judge/run_case.h"
#include "harness/run/collect.h"
#include "harness/run/device_entry.h"
#include "reference/dtype.h"

namespace ringside {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;
using testing::Key;
using testing::Optional;

/// A case, its variant, its standard, and what judges it.
struct Bench {
  explicit Bench(const Case& of) : c(of) {}

  CaseResult run(const Variant& twin, const TimingPlan& timing = {}) {
    return run_case(runner, {c, twin}, standard, {.timing = timing});
  }
  CaseResult judged(const HostOutputs& outputs, const Maker& by) {
    CaseResult result{.c = c};
    judge_outputs(measure_all(c, by, standard, outputs, false, fleet), standard, {{true, true, true, true}},
                  result);
    conclude(result);
    return result;
  }
  CaseResult judged(const HostOutputs& outputs) { return judged(outputs, maker({c, variant})); }
  CaseResult judged(const std::vector<RankRun>& runs) { return judged(collect(runner, {c, variant}, runs)); }

  Case c;
  const Variant& variant = *find_variant(c.variant, c.op);
  Fleet fleet = Fleet::of_threads(std::nullopt, std::chrono::minutes(1));
  Runner runner{device_entry("cpu"), fleet};
  Standard standard = make_standard(c, fleet);
};

struct Kind {
  const char* variant;
  Operator op;
  DType dtype;
};

std::vector<Kind> kinds(std::initializer_list<DType> dtypes, const char* softmax, const char* lightning) {
  std::vector<Kind> all;
  for (const DType dtype : dtypes) {
    all.push_back({softmax, Operator::softmax, dtype});
    all.push_back({lightning, Operator::lightning, dtype});
  }
  return all;
}

const auto kName = [](const auto& of) {
  return fmt::format("{}_{}_{}", of.param.variant, to_string(of.param.op), to_string(of.param.dtype));
};

/// Two data-parallel groups, grouped heads, two batch entries a rank.
Case small(const Kind& kind) {
  return {.variant = kind.variant,
          .op = kind.op,
          .dtype = kind.dtype,
          .batch = 4,
          .seq = 20,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 5,
          .value_dim = 3,
          .dp = 2,
          .sp = 3};
}

// --- one wrong element

class OneWrongElement : public testing::TestWithParam<Kind> {};

/// Adds 1 to an element of a rank's output.
void spoil(std::vector<std::byte>& tensor, DType dtype, Index at) {
  with_type(dtype, [&]<typename T>(T value) {
    std::byte* const element = &tensor[static_cast<std::size_t>(at) * sizeof value];
    std::memcpy(&value, element, sizeof value);
    value = from_float<T>(to_float(value) + 1);
    std::memcpy(element, &value, sizeof value);
  });
}

std::vector<Index> positions_of(const Positions& runs) {
  std::vector<Index> all;
  for (const Run& run : runs) {
    for (Index i = 0; i < run.count; ++i) all.push_back(run.position(i));
  }
  return all;
}

TEST_P(OneWrongElement, IsRedInEveryTensorBatchEntryHeadAndRank) {
  Bench bench(small(GetParam()));
  const Case& c = bench.c;
  std::vector<RankRun> runs = run_ranks_here(bench.runner, {c, bench.variant});
  ASSERT_EQ(bench.judged(runs).status, Status::pass);
  int planted = 0;
  const Placement placement(c, bench.variant.layout);
  for (RankRun& run : runs) {
    const std::vector<Index> tokens = positions_of(placement.tokens(run.rank));
    for (const Out out : kOuts) {
      const Shape shape = shape_of(c.local_problem(), out);
      for (Index b = 0; b < shape.batch; ++b) {
        for (Index head = 0; head < shape.heads; ++head, ++planted) {
          const Index token = planted % std::ssize(tokens), dim = planted % shape.dim;
          const std::vector<std::byte> right = run.outputs[out];
          spoil(run.outputs[out], c.dtype,
                ((b * shape.heads + head) * std::ssize(tokens) + token) * shape.dim + dim);
          const CaseResult result = bench.judged(runs);
          run.outputs[out] = right;

          const auto where = fmt::format("{} batch {} head {} rank {}", to_string(out), b, head, run.rank);
          EXPECT_EQ(result.status, Status::fail) << where;
          for (const Out other : kOuts) {
            EXPECT_EQ(result.tensors[other].stats[Count::failed], other == out ? 1 : 0) << where;
          }
          const TensorVerdict& verdict = result.tensors[out];
          const Element& worst = verdict.stats.worst;
          EXPECT_THAT(verdict.findings,
                      Contains(AllOf(Field(&Finding::rule, Rule::element),
                                     Field(&Finding::tensor, Optional(out)), Field(&Finding::wrong, 1))))
              << where;
          EXPECT_EQ(worst.batch, placement.batches(run.rank)[static_cast<std::size_t>(b)]) << where;
          EXPECT_EQ(worst.head, head) << where;
          EXPECT_EQ(worst.token, tokens[static_cast<std::size_t>(token)]) << where;
          EXPECT_EQ(worst.dim, dim) << where;
          EXPECT_EQ(worst.rank, run.rank) << where;
          EXPECT_EQ(verdict.ranks[static_cast<std::size_t>(run.rank)].failed, 1) << where;
        }
      }
    }
  }
  EXPECT_EQ(planted, 6 * 2 * (4 + 4 + 2 + 2));
}

INSTANTIATE_TEST_SUITE_P(All, OneWrongElement,
                         testing::ValuesIn(kinds({DType::fp32, DType::bf16, DType::fp16}, "ring_zigzag",
                                                 "lasp_naive")),
                         kName);

// --- a row that strays, none of its elements beyond their bounds

class RowThatStrays : public testing::TestWithParam<Kind> {};

TEST_P(RowThatStrays, IsRedOnEverySplit) {
  Case c = small(GetParam());
  c.seq = 200, c.head_dim = 16, c.value_dim = 8, c.dp = 1;
  Bench bench(c);
  constexpr Index kHead = 1, kToken = 100;
  for (const int sp : {1, 2, 3, 4, 8}) {
    bench.c.sp = sp;
    const Maker by = maker({bench.c, bench.variant});
    EXPECT_EQ(bench.judged(bench.standard.control).status, Status::pass) << sp;
    for (const Out out : kOuts) {
      HostOutputs outputs = bench.standard.control;
      const HeadView head = head_view(bench.c, by, bench.standard, outputs, out, kHead);
      const Index dims = shape_of(bench.standard.problem, out).dim;
      for (Index at = kToken * dims; at < (kToken + 1) * dims; ++at) {
        const auto i = static_cast<std::size_t>(at);
        const double off = (at % 2 == 0 ? 0.9 : -0.9) * bound_of(head, i);
        outputs[out][static_cast<std::size_t>(kHead * bench.standard.problem.seq * dims) + i] =
            static_cast<float>(head.expected.value[i] + off);
      }
      const TensorVerdict verdict = bench.judged(outputs).tensors[out];
      ASSERT_EQ(verdict.findings.size(), 1U) << to_string(out) << " sp " << sp;
      EXPECT_EQ(verdict.findings[0].rule, Rule::row);
      EXPECT_EQ(verdict.findings[0].where->token, kToken);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RowThatStrays, testing::ValuesIn(kinds({DType::fp32}, "ring", "lasp_naive")),
                         kName);

// --- the bound of shares that are rounded before they are added

class RoundedShares : public testing::TestWithParam<Kind> {};

TEST_P(RoundedShares, WidenTheBoundByTheirRoundingAndNoMore) {
  Case c = small(GetParam());
  c.dp = 1, c.sp = 4;  // two copies of each kv head
  Bench bench(c);
  const Maker rounds = maker({c, bench.variant});
  ASSERT_TRUE(rounds.rounds_shares);
  Maker rounds_none = rounds;
  rounds_none.rounds_shares = false;
  for (const Out out : {Out::dk, Out::dv}) {
    const Expected& expected = expected_of(bench.standard.truth, out);
    const ExpectedView view = view_of(expected, true);
    // where shares cancel most
    std::size_t at = 0;
    const auto cancelled = [&](std::size_t i) { return expected.shares[i] / view.stored(i); };
    for (std::size_t i = 0; i < expected.value.size(); ++i) at = cancelled(i) > cancelled(at) ? i : at;
    ASSERT_GT(cancelled(at), 5);
    const double bound = unit_roundoff(DType::fp32) * double{expected.error[at]} +
                         unit_roundoff(c.dtype) * (view.stored(at) + expected.shares[at]) + expected.floor;
    const auto failed = [&](double share, const Maker& by) {
      HostOutputs outputs = bench.standard.control;
      outputs[out][at] = static_cast<float>(expected.value[at] + share * bound);
      return bench.judged(outputs, by).tensors[out].stats[Count::failed];
    };
    for (const int sign : {1, -1}) {
      EXPECT_EQ(failed(sign * 0.999, rounds), 0) << to_string(out);
      EXPECT_EQ(failed(sign * 1.001, rounds), 1) << to_string(out);
      EXPECT_EQ(failed(sign * 0.999, rounds_none), 1) << to_string(out);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RoundedShares,
                         testing::ValuesIn(kinds({DType::bf16, DType::fp16}, "ulysses", "ulysses")), kName);

// --- accounts and repetition, of one rank

class OneRank : public testing::TestWithParam<Kind> {
 protected:
  /// What must be red where sequence rank `rank` is wrong: that of both data-parallel groups, alone.
  static auto both(int rank, Rule rule, const std::string& subject = "") {
    return ElementsAre(AllOf(Field(&Finding::rule, rule), Field(&Finding::subject, subject),
                             Field(&Finding::by_rank, ElementsAre(Key(rank), Key(rank + 3)))));
  }
  Bench bench_{small(GetParam())};
};

TEST_P(OneRank, WhoSendsOtherThanTheFormulaIsRed) {
  EXPECT_THAT(all_findings(bench_.run(bench_.variant)), IsEmpty());
  for (int wrong = 0; wrong < 3; ++wrong) {
    for (const auto pass : {&PassTraffic::forward, &PassTraffic::backward}) {
      for (const auto& [name, figure] : {std::pair{"bytes", &Traffic::bytes},
                                         {"messages", &Traffic::messages},
                                         {"collectives", &Traffic::collectives}}) {
        Variant twin = bench_.variant;
        twin.traffic = [&, figure = figure](const Problem& problem, DType dtype, int sp, int rank) {
          PassTraffic sent = bench_.variant.traffic(problem, dtype, sp, rank);
          if (rank == wrong) ++(sent.*pass.*figure);
          return sent;
        };
        EXPECT_THAT(
            all_findings(bench_.run(twin)),
            both(wrong, Rule::traffic,
                 fmt::format("{} in {}", name, pass == &PassTraffic::forward ? "forward" : "backward")));
      }
    }
  }
}

TEST_P(OneRank, WhoHoldsOtherThanTheFormulaIsRed) {
  for (int wrong = 0; wrong < 3; ++wrong) {
    for (const auto pass : {&PassMemory::forward, &PassMemory::backward}) {
      Variant twin = bench_.variant;
      twin.memory = [&](const Problem& problem, DType dtype, int sp, int rank) {
        PassMemory held = bench_.variant.memory(problem, dtype, sp, rank);
        if (rank == wrong) ++(held.*pass);
        return held;
      };
      EXPECT_THAT(all_findings(bench_.run(twin)),
                  both(wrong, Rule::memory,
                       fmt::format("bytes in {}", pass == &PassMemory::forward ? "forward" : "backward")));
    }
  }
}

TEST_P(OneRank, WhoGivesOtherBitsWhenRunAgainIsRed) {
  for (int wrong = 0; wrong < 3; ++wrong) {
    Variant twin = bench_.variant;
    twin.backward = [&, right = bench_.variant.backward](const Context& c, const Inputs& in,
                                                         const Forward& saved, const Tensor& dout) {
      thread_local int runs = 0;
      Gradients grad = right(c, in, saved, dout);
      if (runs++ > 0 && c.comm.rank() == wrong) *grad.dv.data() ^= std::byte{1};
      return grad;
    };
    EXPECT_THAT(all_findings(bench_.run(twin, {.repeat = 1})), both(wrong, Rule::repeat));
  }
}

INSTANTIATE_TEST_SUITE_P(All, OneRank, testing::ValuesIn(kinds({DType::bf16}, "ring", "lasp_naive")), kName);

}  // namespace
}  // namespace ringside
